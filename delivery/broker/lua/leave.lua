#!lua flags=allow-oom
-- A worker leaves. Its leases return to the heads of their queues. Returns how many there were.
-- ARGV 4: worker.

local WORKER = ARGV[4]
call('ZREM', WORKERS, WORKER)
stop_waiting(WORKER)
call('HDEL', FENCES, WORKER)
local count = give_back({WORKER})
write_places()
return count
