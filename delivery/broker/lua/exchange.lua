#!lua flags=allow-oom
-- A worker says what became of the messages it had, and gets as many as it has room for.
-- ARGV 4: worker, 5: number of this request (they count up; 0: nobody reads the answer), 6: room ('': it does not ask, and
-- waits on if it waits), 7: how much of it is open (the rest is kept for new queues, those of which nothing is leased), 8: number of the first earlier request whose answer never came ('' for
-- none): what was leased since goes back, but what it says that it has. Then, for each settled message: how, queue, id,
-- number; where how is 'ack', 'head' (back to the head of its queue), 'tail' (to its end), 'bury' (nobody can read it), a
-- number of seconds (delayed for so long), or 'has' (it is not settled).
-- Returns seconds until this worker should come again ('' for no hurry), what is left to fetch at once (0: nothing, 1: for
-- who has open room, 2: for who has any), whether one of the queues that this was about waits for a message of it to be settled
-- (0 or 1), and for each queue: its name, the number of its messages, and for each of those: id, message.

local WORKER, NUMBER, LOST = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[8])
local ROOM, OPEN_ROOM = tonumber(ARGV[6]), tonumber(ARGV[7])
local MOST_VISITS = 500 -- a script must not keep the server for long
local MOST_UNREADABLE = 1000
local MUCH_LESS = 3 / 4 -- of another's room: the other is the one to serve

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

local beginnings = {} -- of leases of this worker, by the number of the request

local function is_mine(lease, number)
  local mine = beginnings[number]
  if not mine then
    mine = WORKER .. ' ' .. number .. ' '
    beginnings[number] = mine
  end
  return lease and string.sub(lease, 1, #mine) == mine
end

-- Settles what is settled of one queue: `told` says where in ARGV. Returns how many were leased to this worker, how many
-- of those came back, how many of those were put off, and when the first of these was taken.
local function settle(name, told)
  local leases, known, ids = key('leases', name), key('known', name), {}
  for n = 1, #told do ids[n] = ARGV[told[n] + 2] end
  local found, acknowledged, others, put_off = call_with(ids, 'HMGET', leases), {}, {}, 0
  local taken_at = now
  for n = 1, #told do
    if is_mine(found[n], ARGV[told[n] + 3]) then
      local which = ARGV[told[n]] == 'ack' and acknowledged or others
      which[#which + 1] = which == others and n or ids[n]
    end
  end
  call_with(acknowledged, 'HDEL', leases)
  call_with(acknowledged, 'SREM', known)
  for _, n in ipairs(others) do
    local how = ARGV[told[n]]
    if call('HDEL', leases, ids[n]) == 1 then
      if how == 'bury' then call('SREM', known, ids[n]) end
      local lease = read_lease(found[n])
      if tonumber(how) then put_off, taken_at = put_off + 1, math.min(taken_at, lease.taken_at) end
      put(how, name, lease.message)
    end
  end
  return #acknowledged + #others, #others, put_off, taken_at
end

local has = {} -- numbers of leases, by queue and id

local function has_it(name, id, number) return has[name] and has[name][id] == number end

local function settle_all()
  if not ARGV[9] then return end
  local told, names = {}, {}
  for i = 9, #ARGV, 4 do
    local name = ARGV[i + 1]
    local of_queue = told[name]
    if ARGV[i] == 'has' then
      has[name] = has[name] or {}
      has[name][ARGV[i + 2]] = tonumber(ARGV[i + 3])
    elseif of_queue then
      of_queue[#of_queue + 1] = i
    else
      told[name] = {i}
      names[#names + 1] = name
    end
  end
  local touched, places = look_at(names), call_with(names, 'ZMSCORE', DUE)
  for n = 1, #touched do
    local queue, at = touched[n], places[n]
    local settled, returned, put_off, taken_at = settle(queue.name, told[queue.name])
    if settled > 0 then
      count_leases(queue)
      if put_off > 0 then refund(queue, put_off, taken_at) end
      if returned > 0 or at == 'inf' then -- an acknowledgement can only open a queue that waited for one
        place(queue)
      elseif at and not queue.holds then
        stand(queue, at)
      end
    end
  end
end

-- Serving -----------------------------------------------------------------------------------------------------------

local function granted(queue, wanted)
  local set, count = queue.limits, wanted
  if (set.paused_until or 0) > now then return 0 end
  if set.cap then count = math.min(count, set.cap - leased(queue)) end
  if set.rate and count > 0 then count = math.min(count, tokens(queue)) end
  return math.max(count, 0)
end

-- Takes up to `most` ready messages. Returns them, and `first_at` for what is left, if that is known.
local function take(name, most)
  local messages = call('RPOP', list(name), most) or {}
  if #messages == most then return messages, nil end
  local joined, first = ripen(name)
  if joined == 0 then return messages, first end
  for _, message in ipairs(call('RPOP', list(name), most - #messages)) do messages[#messages + 1] = message end
  return messages, nil
end

local answer = {'', 0, 0}
local head -- of the leases of this request

local function lease(queue, messages)
  head = head or WORKER .. ' ' .. NUMBER .. ' ' .. stamp(now) .. ' '
  local fields, count, at = {}, #messages, #answer
  answer[at + 1], answer[at + 2] = queue.name, count
  at = at + 2
  for n = 1, count do
    local message = messages[n]
    local id = id_of(message)
    fields[2 * n - 1], fields[2 * n] = id, head .. at .. '\n' .. message -- its position in the answer
    answer[at + 1], answer[at + 2] = id, message
    at = at + 2
  end
  call('HSET', key('leases', queue.name), unpack(fields))
  queue.holds = true
  queue.leased = queue.leased and queue.leased + count
  if queue.limits.rate then spend(queue, count) end
end

-- Serves one queue up to `wanted` messages and sends it to its next place. Returns how many it gave.
local function serve(queue, wanted, place_in_line)
  local count, first = granted(queue, wanted), nil
  if count > 0 then
    local messages
    messages, first = take(queue.name, count)
    count = #messages
    if count > 0 then lease(queue, messages) end
  end
  place(queue, place_in_line, first)
  return count
end

-- Round robin: every queue in line gets an equal share of the room, then goes to the end of the line; what room is left
-- goes to those who are first in line then. The places at the end are in the microseconds before now, in that order.
-- However many queues are slow, each new one takes a single place of the room that is not open; the others keep their place
-- in line, for another worker. Returns the room that is left, and how much of it is open.
local function serve_all(room, open_room)
  local visits, most_places = 0, 2 * room
  while room > 0 and visits < MOST_VISITS do
    local everybody = open_room > 0 and DUE or NEW
    local line = call('ZRANGEBYSCORE', everybody, '-inf', now, 'LIMIT', 0, math.min(room, MOST_VISITS))
    if #line == 0 then break end
    local share = math.max(1, math.floor(open_room / #line))
    for _, queue in ipairs(look_at(line)) do
      visits = visits + 1
      if open_room > 0 or not queue.holds then
        local count = serve(queue, share, now - math.max(0, most_places - visits) / 1000000)
        room, open_room = room - count, open_room - count
      end
    end
    write_places()
  end
  return room, math.max(0, open_room)
end

-- One worker could take what queues at their caps let out, again and again, and the others would have nothing to do. So it
-- leaves what is due to one that has much more room, which is woken; if nobody came, it is served the next time.
local function leaves_it()
  local _, more = with_most_room()
  return more and OPEN_ROOM < more * MUCH_LESS
end

-- What is left ------------------------------------------------------------------------------------------------------

-- One worker is enough to wake up for what is due next: it keeps the watch until then.
local function keeps_watch(at)
  local watch = call('GET', WATCH)
  if watch then
    local known, keeper = string.match(watch, '(%S+) (%S+)')
    if keeper ~= WORKER and tonumber(known) <= at then return false end
  end
  call('SET', WATCH, stamp(at) .. ' ' .. WORKER, 'PX', milliseconds(at - now + 0.02))
  return true
end

settle_all()
if LOST then
  call('HSET', FENCES, WORKER, NUMBER - 1) -- a lost request may still be on its way
  give_back(function(held, name, id)
    return held.worker == WORKER and held.number >= LOST and not has_it(name, id, held.number)
  end)
end
write_places()
local room, open_room = 0, 0
if ROOM then waits_no_more(WORKER) end
if ROOM and ROOM > 0 and NUMBER > tonumber(call('HGET', FENCES, WORKER) or -1) then
  call('ZADD', WORKERS, 'NX', now, WORKER)
  room, open_room = ROOM, OPEN_ROOM
  if not leaves_it() then room, open_room = serve_all(ROOM, OPEN_ROOM) end
end

write_down()

local function has_due(line) return #call('ZRANGEBYSCORE', line, '-inf', now, 'LIMIT', 0, 1) > 0 end

if has_due(DUE) then
  answer[2] = has_due(NEW) and 2 or 1
  ring(answer[2] == 2)
end
for _, queue in pairs(queues) do
  if queue.at == INF and queue.holds then answer[3] = 1 end
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
