#!lua flags=allow-oom
-- A worker's request: reports settled messages and fetches as many new ones as it has room for.
-- ARGV 4: worker
--      5: number of the request, counting up; 0: it only reports, and nobody wakes up by its answer
--      6: room; '': it only reports, and the worker goes on waiting if it waits for its bell
--      7: open room, the part of the room that every queue may use; the rest is for new queues, with nothing leased
--      8: number of the worker's first request whose answer was lost, '' for none: all that it and later requests
--         leased goes back, except what is listed as held
--      then, for each settlement: how, queue, id, number of the request that leased it. How is 'ack', 'head' (back to
--         the head of its queue), 'tail' (to its end), 'bury' (unreadable), or a number of seconds (delayed by that).
--         'has' lists a message that is not settled, but held
-- Returns: seconds until the worker should send its next request ('': no hurry); what is left to fetch now (0: nothing,
-- 1: for a worker with open room, 2: for one with any room); 1 if a queue that this request touched waits for a
-- settlement, else 0; then, for each queue served: name, number of messages, and for each message: id, message.

local WORKER, NUMBER, LOST = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[8])
local ROOM, OPEN_ROOM = tonumber(ARGV[6]), tonumber(ARGV[7])
local MOST_VISITS = 500 -- a script must not keep the server for long
local MOST_UNREADABLE = 1000
local BROKEN_S = 10 -- how long a queue that cannot be served is left alone
local MUCH_LESS = 3 / 4 -- of another waiting worker's open room: with less, a worker takes nothing

-- Settling ----------------------------------------------------------------------------------------------------------

local function put(how, name, message)
  if how == 'bury' then
    call('LPUSH', key('unreadable'), message)
    call('LTRIM', key('unreadable'), 0, MOST_UNREADABLE - 1)
  elseif how == 'head' then
    call('RPUSH', list(name), message)
  elseif how == 'tail' then
    append(name, {redelivered(message)})
  else
    call('ZADD', key('delayed', name), now + tonumber(how), message)
  end
end

-- Settles messages of this worker: `entries` are their positions in ARGV. Returns the names of their queues, and for
-- each of these: how many there were, how many of those were not acknowledged, how many tokens the postponed ones had
-- taken, and when the first was taken. A message that cannot be put back, because its queue's key is no list, stays.
local function settle(entries)
  local fields, is_settled, ended = {}, {}, {}
  local names, by_name = {}, {}
  for n = 1, #entries do fields[n] = field_of(ARGV[entries[n] + 1], ARGV[entries[n] + 2]) end
  local found = call_with(fields, 'HMGET', leases_of(WORKER))
  for n = 1, #entries do
    local at, field = entries[n], fields[n]
    local how, name, id, number = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local is_mine = found[n] and not is_settled[field] and string.sub(found[n], 1, #number + 1) == number .. ' '
    local lease = is_mine and how ~= 'ack' and read_lease(found[n])
    if is_mine and (not lease or pcall(put, how, name, lease.message)) then
      is_settled[field], ended[#ended + 1] = true, field
      local sum = by_name[name]
      if not sum then
        sum = {count = 0, returned = 0, postponed = 0, taken_at = now, forgotten = {}}
        by_name[name], names[#names + 1] = sum, name
      end
      sum.count = sum.count + 1
      if lease then sum.returned = sum.returned + 1 end
      if how == 'ack' or how == 'bury' then
        sum.forgotten[#sum.forgotten + 1] = id
      elseif tonumber(how) and not is_free(id) then
        sum.postponed, sum.taken_at = sum.postponed + 1, math.min(sum.taken_at, lease.taken_at)
      end
    end
  end
  load_queues(names)
  call_with(ended, 'HDEL', leases_of(WORKER))
  for _, name in ipairs(names) do queues[name].leased = queues[name].leased - by_name[name].count end
  write_counts()
  for _, name in ipairs(names) do call_with(by_name[name].forgotten, 'SREM', key('known', name)) end
  return names, by_name
end

local held_numbers = {} -- request numbers of the leases that the worker holds, by field

local function settle_all()
  if not ARGV[9] then return end
  local entries = {}
  for i = 9, #ARGV, 4 do
    if ARGV[i] == 'has' then
      held_numbers[field_of(ARGV[i + 1], ARGV[i + 2])] = tonumber(ARGV[i + 3])
    else
      entries[#entries + 1] = i
    end
  end
  local names, by_name = settle(entries)
  local places, capped = call_with(names, 'ZMSCORE', DUE), {}
  for n, queue in ipairs(load_queues(names)) do
    local at, sum = places[n], by_name[queue.name]
    if sum.postponed > 0 then refund(queue, sum.postponed, sum.taken_at) end
    if at == 'inf' then
      capped[#capped + 1] = queue.name
    elseif sum.returned > 0 then -- an acknowledgement alone moves a queue only if it was at its cap
      place(queue)
    elseif at and queue.leased == 0 then
      set_place(queue, at)
    end
  end
  local joins = places_of_joining(capped)
  for n = 1, #capped do place(queues[capped[n]], joins[n]) end
end

-- Serving -----------------------------------------------------------------------------------------------------------

local function granted(queue, wanted)
  local set, count = queue.limits, wanted
  if (set.paused_until or 0) > now then return 0 end
  if set.cap then count = math.min(count, set.cap - queue.leased) end
  if set.rate and count > 0 then count = math.min(count, tokens(queue)) end
  return math.max(count, 0)
end

-- Takes up to `most` messages that are ready or due. Returns them, and `first_at` for the rest, if known.
local function take(name, most)
  local messages = call('RPOP', list(name), most) or {}
  if #messages == most then return messages, nil end
  local is_readable, joined, first = pcall(ripen, name)
  if not is_readable then return messages, nil end
  if joined == 0 then return messages, first end
  for _, message in ipairs(call('RPOP', list(name), most - #messages)) do messages[#messages + 1] = message end
  return messages, nil
end

local answer = {'', 0, 0}
local taken = {} -- fields and values of this request's leases
local head = NUMBER .. ' ' .. stamp(now) .. ' ' -- what the values begin with

local function lease(queue, messages)
  local count, at, tokens_taken = #messages, #answer, 0
  answer[at + 1], answer[at + 2] = queue.name, count
  at = at + 2
  for n = 1, count do
    local message = messages[n]
    local id = id_of(message) or 'unreadable:' .. NUMBER .. ':' .. at
    if not is_free(id) then tokens_taken = tokens_taken + 1 end
    taken[#taken + 1], taken[#taken + 2] = field_of(queue.name, id), head .. at .. '\n' .. message -- its position in the answer
    answer[at + 1], answer[at + 2] = id, message
    at = at + 2
  end
  queue.leased = queue.leased + count
  if queue.limits.rate then spend(queue, tokens_taken) end
end

-- Writes what `lease` collected. If a list holds an id twice, which only another producer can do, one lease stands for
-- both, so the leases are counted again.
local function write_leases()
  local added = 0
  in_chunks(taken, function(...) added = added + call('HSET', leases_of(WORKER), ...) end)
  if added < #taken / 2 then count_leases() end
  write_counts()
end

local left = {} -- names of queues that were served and left the line, each after the time

-- Leases up to `wanted` messages of one queue and gives it its next place. Returns how many.
local function serve(queue, wanted, place_in_line)
  local count, first = granted(queue, wanted), nil
  if count > 0 then
    local messages
    messages, first = take(queue.name, count)
    count = #messages
    if count > 0 then lease(queue, messages) end
  end
  local at = place(queue, place_in_line, first)
  if count > 0 and (not at or at > now) then left[#left + 1], left[#left + 2] = now, queue.name end
  return count
end

-- Like `serve`. A queue with a key of another type, which only another program can make, must not stop the others.
local function serve_safely(queue, wanted, place_in_line)
  local leased_before = queue.leased
  if not pcall(serve, queue, wanted, place_in_line) then set_place(queue, now + BROKEN_S) end
  return queue.leased - leased_before
end

-- Round robin: every queue in line gets an equal share of the open room and goes to the end of the line; the first in
-- line then get what is left. Places at the end are in the microseconds before now, in the order of the visits. Without
-- open room only new queues are served, one message each; the others keep their places, for another worker. Returns
-- the room that is left, and how much of it is open.
local function serve_all(room, open_room)
  local visits, most_places = 0, 2 * room
  while room > 0 and visits < MOST_VISITS do
    local everybody = open_room > 0 and DUE or NEW
    local line = call('ZRANGEBYSCORE', everybody, '-inf', now, 'LIMIT', 0, math.min(room, MOST_VISITS))
    if #line == 0 then break end
    local share = math.max(1, math.floor(open_room / #line))
    for _, queue in ipairs(load_queues(line)) do
      visits = visits + 1
      if open_room > 0 or queue.leased == 0 then
        local count = serve_safely(queue, share, now - math.max(0, most_places - visits) / 1000000)
        room, open_room = room - count, open_room - count
      end
    end
    write_places()
  end
  if #left > 0 then
    call_with(left, 'ZADD', SERVED)
    call('PEXPIRE', SERVED, milliseconds(REMEMBERED_S))
  end
  return room, math.max(0, open_room)
end

-- A worker that settles and fetches in one round trip could take all that queues at their caps release, and other
-- workers would idle. So it leaves due messages to a waiting worker that has much more open room. That worker is woken;
-- if it does not come, the next request takes them.
local function leaves_work_to_another()
  local _, more = roomiest_worker()
  return more and OPEN_ROOM < more * MUCH_LESS
end

-- The request -------------------------------------------------------------------------------------------------------

-- Makes this worker keep the watch: it has to wake up when the next queue is due, at `at`. One worker is enough.
-- Returns whether this one keeps it.
local function keeps_watch(at)
  local watch = call('GET', WATCH)
  if watch then
    local known, keeper = string.match(watch, '(%S+) (%S+)')
    if keeper ~= WORKER and tonumber(known) <= at then return false end
  end
  call('SET', WATCH, stamp(at) .. ' ' .. WORKER, 'PX', milliseconds(at - now + 0.02))
  return true
end

if ROOM then stop_waiting(WORKER) end -- it must not ring its own bell
settle_all()
if LOST then
  call('HSET', FENCES, WORKER, NUMBER - 1) -- a lost request may still arrive
  give_back({WORKER}, function(lease)
    return lease.number >= LOST and held_numbers[lease.field] ~= lease.number
  end)
end
write_places()
local room, open_room = 0, 0
if ROOM and ROOM > 0 and NUMBER > tonumber(call('HGET', FENCES, WORKER) or -1) then
  call('ZADD', WORKERS, 'NX', now, WORKER)
  room, open_room = ROOM, OPEN_ROOM
  if not leaves_work_to_another() then
    room, open_room = serve_all(ROOM, OPEN_ROOM)
    write_leases()
  end
end

write_places()

local function has_due(line) return #call('ZRANGEBYSCORE', line, '-inf', now, 'LIMIT', 0, 1) > 0 end

if has_due(DUE) then
  answer[2] = has_due(NEW) and 2 or 1
  ring(answer[2] == 2)
end
for _, queue in pairs(queues) do
  if queue.at == INF and queue.leased > 0 then answer[3] = 1 end
end
local following = call('ZRANGEBYSCORE', DUE, '(' .. string.format('%.17g', now), now + POLL_S, 'WITHSCORES', 'LIMIT', 0, 1)
local at = tonumber(following[2])
if NUMBER == 0 then
  announce(at)
elseif at and keeps_watch(at) then
  answer[1] = stamp(at - now)
end
if room > 0 then call('ZADD', WAITING, open_room, WORKER) end
return answer
