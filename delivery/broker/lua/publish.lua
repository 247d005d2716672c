#!lua
-- Queues messages whose ids the broker does not hold yet. Returns how many it queued.
-- ARGV, for each queue: name, number of messages, and for each message: id, delay in seconds ('first': none, and it goes
-- to the head of the queue), message.

-- Adds ids to those that the queue knows. Returns an array: whether the n-th one is new.
local function learn(name, ids)
  local known = key('known', name)
  if #ids == 1 then return {call('SADD', known, ids[1]) == 1} end
  local is_known, which, new, listed = call_with(ids, 'SMISMEMBER', known), {}, {}, {}
  for n = 1, #ids do
    which[n] = is_known[n] == 0 and not listed[ids[n]]
    if which[n] then
      listed[ids[n]] = true
      new[#new + 1] = ids[n]
    end
  end
  call_with(new, 'SADD', known)
  return which
end

local names, starts = {}, {}
local at = 4
while ARGV[at] do
  names[#names + 1], starts[#starts + 1] = ARGV[at], at
  at = at + 2 + 3 * tonumber(ARGV[at + 1])
end
local places = call_with(names, 'ZMSCORE', DUE) -- false for queues that are empty

local added = 0
local entering, first = {}, {} -- names of queues whose places change, and `first_at` for each, if known
for q = 1, #names do
  local name, at, is_empty = names[q], starts[q], not places[q]
  local count = tonumber(ARGV[at + 1])
  local ids, first_ones, ready, delayed = {}, {}, {}, {}
  for n = 1, count do ids[n] = ARGV[at + 3 * n - 1] end
  local is_new = learn(name, ids)
  for n = 1, count do
    if is_new[n] then
      local delay_s, message = tonumber(ARGV[at + 3 * n]), ARGV[at + 3 * n + 1]
      added = added + 1
      if not delay_s then
        first_ones[#first_ones + 1] = message
      elseif delay_s > 0 then
        delayed[#delayed + 1], delayed[#delayed + 2] = now + delay_s, message
      else
        ready[#ready + 1] = message
      end
    end
  end
  -- A queue that had ready messages is in line already, where its limits put it.
  local was_empty = #ready > 0 and append(name, ready, is_empty)
  if #first_ones > 0 then was_empty = call_with(first_ones, 'RPUSH', list(name)) == #first_ones or was_empty end
  call_with(delayed, 'ZADD', key('delayed', name))
  if was_empty or (#ready == 0 and #delayed > 0 and call('EXISTS', list(name)) == 0) then
    entering[#entering + 1] = name
    if was_empty then first[name] = READY end
  end
end

local joins = places_of_joining(entering)
for n, queue in ipairs(load_queues(entering)) do announce(place(queue, joins[n], first[queue.name])) end
write_places()
return added
