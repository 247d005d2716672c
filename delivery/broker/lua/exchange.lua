#!lua flags=allow-oom
-- A worker says what became of the messages it had, and gets as many as it has room for.
-- ARGV 4: worker, 5: number of this request (they count up), 6: room, 7: how much of it is open (the rest is kept for new
-- queues, those of which nothing is leased), 8: number of the first earlier request whose answer never came ('' for
-- none): what was leased since goes back. Then, for each settled message: how, queue, id, number; where how is 'ack',
-- 'head' (back to the head of its queue), 'tail' (to its end), 'bury' (nobody can read it) or a number of seconds (delayed
-- for so long).
-- Returns seconds until this worker should come again ('' for no hurry), what is left to fetch at once (0: nothing, 1: for
-- who has open room, 2: for who has any), and for each queue: its name, the number of its messages, and for each of those:
-- id, message.

local WORKER, NUMBER, LOST = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[8])
local ROOM, OPEN_ROOM = tonumber(ARGV[6]), tonumber(ARGV[7])
local MOST_VISITS = 500 -- a script must not keep the server for long
local MOST_UNREADABLE = 1000

-- Settling ----------------------------------------------------------------------------------------------------------

local function settle(how, queue, id, number)
  local leases = key('leases', queue)
  local lease = call('HGET', leases, id)
  local mine = WORKER .. ' ' .. number .. ' '
  if not lease or string.sub(lease, 1, #mine) ~= mine then return false end
  call('HDEL', leases, id)
  if how == 'ack' or how == 'bury' then call('SREM', key('known', queue), id) end
  if how == 'ack' then return true end
  local message = read_lease(lease).message
  if how == 'bury' then
    call('LPUSH', key('unreadable'), message)
    call('LTRIM', key('unreadable'), 0, MOST_UNREADABLE - 1)
  elseif how == 'head' then
    call('RPUSH', list(queue), message)
  elseif how == 'tail' then
    append(queue, {redelivered(message)})
  else
    call('ZADD', key('delayed', queue), now + tonumber(how), message)
  end
  return true
end

local function settle_all()
  local touched = {}
  for i = 9, #ARGV, 4 do
    local how, queue = ARGV[i], ARGV[i + 1]
    if settle(how, queue, ARGV[i + 2], ARGV[i + 3]) then
      touched[queue] = touched[queue] or how ~= 'ack'
    end
  end
  for queue, has_more in pairs(touched) do
    local is_new, at = forget_if_unleased(queue), call('ZSCORE', DUE, queue)
    if has_more or at == 'inf' then -- an acknowledgement can only open a queue that waited for one
      place(queue)
    elseif is_new and at then
      call('ZADD', NEW, at, queue)
    end
  end
end

-- Serving -----------------------------------------------------------------------------------------------------------

local function granted(queue, limits, wanted, ready)
  if (limits.paused_until or 0) > now then return 0 end
  local count = math.min(wanted, ready)
  if limits.cap then count = math.min(count, limits.cap - leased(queue, limits)) end
  if limits.rate and count > 0 then count = math.min(count, tokens(queue, limits)) end
  return math.max(count, 0)
end

local answer = {'', 0}

local function lease(queue, messages)
  local fields, head = {}, WORKER .. ' ' .. NUMBER .. ' ' .. stamp(now) .. ' '
  for _, message in ipairs(messages) do
    local id = id_of(message)
    fields[#fields + 1] = id
    fields[#fields + 1] = head .. #answer .. '\n' .. message -- its position in the answer
    answer[#answer + 1] = id
    answer[#answer + 1] = message
  end
  call('HSET', key('leases', queue), unpack(fields))
  call('SADD', LEASED, queue)
end

-- Serves one queue up to `wanted` messages and sends it to its next place. Returns how many it gave.
local function serve(queue, wanted, place_in_line)
  ripen(queue)
  local limits, ready = limits_of(queue), call('LLEN', list(queue))
  local count = granted(queue, limits, wanted, ready)
  if count > 0 then
    answer[#answer + 1] = queue
    answer[#answer + 1] = count
    lease(queue, call('RPOP', list(queue), count))
    if limits.leased then limits.leased = limits.leased + count end
    if limits.rate then spend(queue, limits, count) end
  end
  place(queue, limits, place_in_line, ready > count)
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
    for _, queue in ipairs(line) do
      visits = visits + 1
      if open_room > 0 or call('ZSCORE', NEW, queue) then
        local count = serve(queue, share, now - math.max(0, most_places - visits) / 1000000)
        room, open_room = room - count, open_room - count
      end
    end
  end
  return room, math.max(0, open_room)
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
  give_back(function(held) return held.worker == WORKER and held.number >= LOST end)
end
local room, open_room = 0, 0
call('ZREM', WAITING, WORKER)
if ROOM > 0 and NUMBER > tonumber(call('HGET', FENCES, WORKER) or -1) then
  call('ZADD', WORKERS, 'NX', now, WORKER)
  room, open_room = serve_all(ROOM, OPEN_ROOM)
end

local function has_due(line) return #call('ZRANGEBYSCORE', line, '-inf', now, 'LIMIT', 0, 1) > 0 end

if has_due(DUE) then
  answer[2] = has_due(NEW) and 2 or 1
  ring(answer[2] == 2)
end
local following = call('ZRANGEBYSCORE', DUE, '(' .. string.format('%.17g', now), now + POLL_S, 'WITHSCORES', 'LIMIT', 0, 1)
local at = tonumber(following[2])
if at and keeps_watch(at) then answer[1] = stamp(at - now) end
if room > 0 then call('ZADD', WAITING, open_room, WORKER) end
return answer
