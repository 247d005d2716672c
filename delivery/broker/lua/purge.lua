#!lua flags=allow-oom
-- Drops what waits in a queue, ready or delayed, in steps that are short for the server. What is leased stays.
-- ARGV 4: queue. Returns how many were dropped and 1 when nothing is left.

local queue = ARGV[4]
local known, delayed = key('known', queue), key('delayed', queue)
local count

if call('EXISTS', key('leases', queue)) == 0 then
  count = call('LLEN', list(queue)) + call('ZCARD', delayed)
  call('UNLINK', list(queue), delayed, known)
else
  local dropped = call('RPOP', list(queue), CHUNK) or {}
  local popped = call('ZPOPMIN', delayed, CHUNK)
  for i = 1, #popped, 2 do dropped[#dropped + 1] = popped[i] end
  for _, message in ipairs(dropped) do call('SREM', known, id_of(message)) end
  count = #dropped
end
local at = place(look(queue))
write_down()
return {count, at and 0 or 1}
