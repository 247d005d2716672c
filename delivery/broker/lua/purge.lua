#!lua flags=allow-oom
-- Drops a queue's ready and delayed messages, in steps that are short for the server. Leased messages stay.
-- ARGV 4: queue. Returns how many were dropped, and 1 when none are left, else 0.

local queue = ARGV[4]
local known, delayed = key('known', queue), key('delayed', queue)
local count

if load_queue(queue).leased == 0 then
  count = call('LLEN', list(queue)) + call('ZCARD', delayed)
  call('UNLINK', list(queue), delayed, known)
else
  local dropped = call('RPOP', list(queue), CHUNK) or {}
  local popped = call('ZPOPMIN', delayed, CHUNK)
  for i = 1, #popped, 2 do dropped[#dropped + 1] = popped[i] end
  for _, message in ipairs(dropped) do call('SREM', known, id_of(message) or '') end
  count = #dropped
end
local at = place(load_queue(queue))
write_places()
return {count, at and 0 or 1}
