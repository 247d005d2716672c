#!lua
-- Queues the messages whose ids the broker does not hold yet. Returns how many those were.
-- ARGV: for each queue its name, the number of its messages, and for each of those: id, delay in seconds, message.

local added = 0
local at = 4
while ARGV[at] do
  local queue, count = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local known, ready, delayed = key('known', queue), {}, {}
  for _ = 1, count do
    local id, delay_s, message = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
    at = at + 3
    if call('SADD', known, id) == 1 then
      added = added + 1
      if delay_s > 0 then
        delayed[#delayed + 1] = now + delay_s
        delayed[#delayed + 1] = message
      else
        ready[#ready + 1] = message
      end
    end
  end
  local was_empty = #ready > 0 and call('EXISTS', list(queue)) == 0
  if #ready > 0 then append(queue, ready) end
  in_chunks(delayed, function(...) call('ZADD', key('delayed', queue), ...) end)
  -- A queue that had ready messages stands in line already, where its limits put it.
  if was_empty then
    announce(place(queue, nil, nil, true))
  elseif #ready == 0 and #delayed > 0 and call('EXISTS', list(queue)) == 0 then
    announce(place(queue, nil, nil, false))
  end
end
return added
