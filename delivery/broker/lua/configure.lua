#!lua
-- Sets limits, which apply from the next message on. ARGV, for each queue: name, rate (messages a second), burst, cap,
-- paused_until (Unix seconds, inf: until resumed); '-' for none, '=' for no change.

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
  -- A queue that may be served now keeps its place in line, however often its limits are set.
  local place_now = tonumber(call('ZSCORE', DUE, queue))
  if place_now then
    queues[queue] = nil -- a queue may appear twice in ARGV: load its limits again
    announce(place(load_queue(queue), place_now <= now and place_now or nil))
  end
end
write_places()
return 1
