#!lua flags=allow-oom
-- A worker stops: what it holds goes back to the heads of the queues. Returns how much that was.
-- ARGV 4: worker.

local WORKER = ARGV[4]
call('ZREM', WORKERS, WORKER)
waits_no_more(WORKER)
call('HDEL', FENCES, WORKER)
local count = give_back(function(held) return held.worker == WORKER end)
write_down()
return count
