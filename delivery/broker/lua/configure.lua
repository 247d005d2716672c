#!lua
-- Sets limits; they act from the next message on. ARGV: queue, rate (messages a second), burst, cap, paused_until (Unix
-- seconds, inf: until resumed), repeated; '-' for none, '=' to keep what is set.

local FIELDS = {'rate', 'burst', 'cap', 'paused_until'}

for i = 4, #ARGV, 5 do
  local queue = ARGV[i]
  local old, new, any = unpacked(call('HGET', LIMITS, queue)), {}, false
  for n, field in ipairs(FIELDS) do
    local value = ARGV[i + n]
    if value == '=' then value = old[field] and string.format('%.17g', old[field]) or '-' end
    any = any or value ~= '-'
    new[n] = value
  end
  if any then call('HSET', LIMITS, queue, table.concat(new, ' ')) else call('HDEL', LIMITS, queue) end
  if new[1] == '-' then call('DEL', key('bucket', queue)) end
  -- A queue that may be served now keeps its place in line, however often its limits are written.
  local stands = tonumber(call('ZSCORE', DUE, queue))
  if stands then
    queues[queue] = nil -- it may be named twice
    announce(place(look(queue), stands <= now and stands or nil))
  end
end
write_down()
return 1
