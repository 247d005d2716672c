-- Prepended to every script. README.md describes the keys. Times are Unix seconds by the server's clock.
-- ARGV 1: the application's global key prefix, 2: the prefix of fair queues' names, 3: the time ('': by the clock).

local GLOBAL, PREFIX = ARGV[1], ARGV[2]
local call, INF = redis.call, math.huge
local POLL_S = 1.5      -- an idle worker sends a request at least this often
local BELL_KEPT_S = 10  -- an unanswered bell expires; its worker sends a request anyway
-- How long it is known when a queue was served last. If queues that were not fill all room, a backlog waits so long.
local REMEMBERED_S = 2
local REFUNDED_S = 1    -- a message that is postponed within it costs its partner nothing
local CHUNK = 1000      -- number of values that unpack() can safely put on Lua's stack
local TAIL = 100        -- bytes at the end of a message that are searched for its id first

local now = tonumber(ARGV[3])
if not now then
  local clock = call('TIME')
  now = clock[1] + clock[2] / 1000000
end

local function key(kind, queue) return GLOBAL .. 'fair:' .. kind .. ':' .. (queue or PREFIX .. '*') end

local DUE, NEW, LIMITS, COUNTS, SERVED = key('due'), key('new'), key('limits'), key('counts'), key('served')
local WORKERS, FENCES, WAITING, WATCH = key('workers'), key('fences'), key('waiting'), key('watch')

local function list(queue) return GLOBAL .. queue end

local function milliseconds(s) return string.format('%d', math.max(1, math.ceil(s * 1000))) end

local function stamp(at) return string.format('%.6f', at) end

local function in_chunks(values, take)
  for start = 1, #values, CHUNK do
    take(unpack(values, start, math.min(start + CHUNK - 1, #values)))
  end
end

-- Calls `command` with many values at once, since most of the cost of a small call is the call itself. Makes no call
-- without values. Returns the answer; if it took several calls, the elements of all their answers in one array.
local function call_with(values, command, name)
  if #values == 0 then return values end
  if #values <= CHUNK then return call(command, name, unpack(values)) end
  local all = {}
  in_chunks(values, function(...)
    local answer = call(command, name, ...)
    for n = 1, type(answer) == 'table' and #answer or 0 do all[#all + 1] = answer[n] end
  end)
  return all
end

-- Queues ------------------------------------------------------------------------------------------------------------

-- The queues that this script has loaded. It keeps up to date: `limits`; `full_at`, when the token bucket is full
-- again (false: not read yet); `leased`, the number of leases; `noted`, that number in COUNTS; `at`, its place in line;
-- `has_moved`, whether that place must still be written.
local queues = {}

-- LIMITS has one field per queue: "rate burst cap paused_until", '-' for none. Many queues have the same limits.
local limits = {[false] = {}}

local function unpacked(packed)
  if not limits[packed] then
    local rate, burst, cap, paused_until = string.match(packed, '(%S+) (%S+) (%S+) (%S+)')
    limits[packed] = {
      rate = tonumber(rate), burst = tonumber(burst), cap = tonumber(cap), paused_until = tonumber(paused_until),
    }
  end
  return limits[packed]
end

local function load_queues(names)
  local found, unseen = {}, {}
  for n = 1, #names do
    if not queues[names[n]] then unseen[#unseen + 1] = names[n] end
  end
  local packed, counts = call_with(unseen, 'HMGET', LIMITS), call_with(unseen, 'HMGET', COUNTS)
  for n = 1, #unseen do
    local name, leased = unseen[n], tonumber(counts[n] or 0)
    queues[name] = queues[name] or {
      name = name, limits = unpacked(packed[n]), full_at = false, leased = leased, noted = leased, at = false,
      has_moved = false,
    }
  end
  for n = 1, #names do found[n] = queues[names[n]] end
  return found
end

local function load_queue(name) return queues[name] or load_queues({name})[1] end

-- Limits ------------------------------------------------------------------------------------------------------------

-- The token bucket is one number: when it will be full again. The key expires then.
local function fill(queue, at)
  queue.full_at = at
  if ARGV[3] == '' then
    call('SET', key('bucket', queue.name), stamp(at), 'PX', milliseconds(at - now))
  else
    call('SET', key('bucket', queue.name), stamp(at))
  end
end

local function full_at(queue)
  if not queue.full_at then
    local latest = now + queue.limits.burst / queue.limits.rate
    queue.full_at = math.max(tonumber(call('GET', key('bucket', queue.name)) or now), now)
    -- After a raised rate, or a clock that was put back, the bucket is empty at worst.
    if queue.full_at > latest + 0.001 then fill(queue, latest) end
  end
  return queue.full_at
end

-- Whole tokens in the bucket, plus what it gains in a microsecond: rounding must not make a due queue wait again.
local function tokens(queue)
  local rate = queue.limits.rate
  return math.floor(queue.limits.burst - (full_at(queue) - now) * rate + rate / 1000000 + 1e-9)
end

local function spend(queue, count) fill(queue, full_at(queue) + count / queue.limits.rate) end

local function is_free(id) return string.sub(id, 1, 5) == 'free:' end

-- Gives back the tokens of messages that were taken and then postponed, so not sent. After REFUNDED_S, the tokens that
-- the bucket has gained since are subtracted: had none been taken, it might have been full, and gained nothing.
local function refund(queue, count, taken_at)
  local rate = queue.limits.rate
  if not rate then return end
  local lost_s = count / rate - math.max(0, now - taken_at - REFUNDED_S)
  if lost_s > 0 then fill(queue, math.max(now, full_at(queue) - lost_s)) end
end

-- The time until which the limits let no message start; INF: until a settlement or new limits.
local function opens_at(queue)
  local set = queue.limits
  if set.cap and queue.leased >= set.cap then return INF end
  local at = set.paused_until or 0
  if set.rate then at = math.max(at, full_at(queue) - (set.burst - 1) / set.rate) end
  return at
end

-- Moves delayed messages that are due to the list, before any later message joins it: a queue is first in, first out by
-- due time. Returns how many moved and, if none did, when the first will be due (false: none is delayed).
local function ripen(name)
  local delayed = key('delayed', name)
  local first = tonumber(call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) or false
  if not first or first > now then return 0, first end
  local ripe = call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, CHUNK)
  call('LPUSH', list(name), unpack(ripe))
  call('ZREM', delayed, unpack(ripe))
  return #ripe
end

-- Adds messages to the end of a queue. Returns whether none was ready before. `is_empty`: none is ready or delayed.
local function append(name, messages, is_empty)
  local added, length = #messages, 0
  if not is_empty then added = added + ripen(name) end
  in_chunks(messages, function(...) length = call('LPUSH', list(name), ...) end)
  return length == added
end

-- The line ----------------------------------------------------------------------------------------------------------

local READY = 0

-- When the first message will be ready; READY if one is, false if the queue is empty.
local function first_at(name)
  if call('EXISTS', list(name)) == 1 then return READY end
  return tonumber(call('ZRANGE', key('delayed', name), 0, 0, 'WITHSCORES')[2]) or false
end

local moved = {} -- queues whose places must be written

local function set_place(queue, at)
  queue.at = at
  if not queue.has_moved then
    queue.has_moved = true
    moved[#moved + 1] = queue
  end
end

-- Gives a queue its place in line: the earliest time at which it may be served. `joins`: its place if that is now
-- (default: now); `first`: `first_at`, if known. Returns the place (nil: the queue is empty) and whether the queue is
-- new: it has nothing leased. `write_places` must follow.
local function place(queue, joins, first)
  if first == nil then first = first_at(queue.name) end
  local opens = opens_at(queue)
  local at = first and math.max(joins or now, first, opens > now and opens or 0)
  set_place(queue, at)
  if at then return at, queue.leased == 0 end
end

-- The places at which queues join the line again: before all that were served since they were.
local function places_of_joining(names)
  local served = call_with(names, 'ZMSCORE', SERVED)
  for n = 1, #names do
    served[n] = math.min(now, math.max(tonumber(served[n] or 0), now - REMEMBERED_S))
  end
  return served
end

-- New queues stand in NEW as well.
local function write_places()
  if #moved == 0 then return end
  local due, new, old, gone = {}, {}, {}, {}
  for n = 1, #moved do
    local queue = moved[n]
    local name, at = queue.name, queue.at
    queue.has_moved = false
    if at then
      due[#due + 1], due[#due + 2] = at, name
    else
      gone[#gone + 1] = name
    end
    if at and queue.leased == 0 then
      new[#new + 1], new[#new + 2] = at, name
    else
      old[#old + 1] = name
    end
  end
  moved = {}
  call_with(due, 'ZADD', DUE)
  call_with(gone, 'ZREM', DUE)
  call_with(new, 'ZADD', NEW)
  call_with(old, 'ZREM', NEW)
end

-- Writes changed numbers of leases. It must follow each change of leases at once, before anything that may fail: nothing
-- would correct a wrong number.
local function write_counts()
  local changed, removed = {}, {}
  for name, queue in pairs(queues) do
    if queue.leased == 0 and queue.noted > 0 then
      removed[#removed + 1] = name
    elseif queue.leased ~= queue.noted then
      changed[#changed + 1], changed[#changed + 2] = name, queue.leased
    end
    queue.noted = queue.leased
  end
  call_with(changed, 'HSET', COUNTS)
  call_with(removed, 'HDEL', COUNTS)
end

-- The waiting worker with the most open room, and how much it has; read once for many queues.
local most_room

local function roomiest_worker()
  most_room = most_room or call('ZREVRANGE', WAITING, 0, 0, 'WITHSCORES')
  return most_room[1], tonumber(most_room[2])
end

local function stop_waiting(worker)
  most_room = nil
  call('ZREM', WAITING, worker)
end

-- Wakes the waiting worker with the most open room; a worker without any is woken for a new queue only. If no worker
-- waits, the next one to have room sends a request anyway. One is enough: if it leaves work behind, the next is woken.
local has_rung = false

local function ring(is_new)
  if has_rung then return end
  local worker, open_room = roomiest_worker()
  if not worker or (open_room < 1 and not is_new) then return end
  has_rung = true
  stop_waiting(worker)
  call('LPUSH', key('bell', worker), '1')
  call('PEXPIRE', key('bell', worker), milliseconds(BELL_KEPT_S))
end

-- Makes sure that a worker comes for a queue whose place is `at`.
local function announce(at, is_new)
  if not at then return end
  if at <= now then return ring(is_new) end
  if at - now > POLL_S then return end
  local watch = call('GET', WATCH)
  if not watch or tonumber(string.match(watch, '%S+')) > at then ring(true) end
end

-- Leases ------------------------------------------------------------------------------------------------------------

-- A worker's leases are fields of one hash, "size:queueid", where `size` is that of the queue's name. The value is
-- "number taken_at position\nmessage". `number` counts the worker's requests: when a lease was lost and the message was
-- leased again, a settlement of the old lease has no effect.
local function leases_of(worker) return key('leases', worker) end

local function field_of(name, id) return #name .. ':' .. name .. id end

local function queue_of(field)
  local size, start = string.match(field, '^(%d+):()')
  return string.sub(field, start, start + size - 1)
end

local function read_lease(lease)
  local number, taken_at, position, start = string.match(lease, '^(%d+) (%S+) (%d+)\n()')
  return {
    number = tonumber(number), taken_at = tonumber(taken_at), position = tonumber(position),
    message = string.sub(lease, start),
  }
end

-- Counts the leases of all loaded queues again.
local function count_leases()
  for _, queue in pairs(queues) do queue.leased = 0 end
  for _, worker in ipairs(call('ZRANGE', WORKERS, 0, -1)) do
    for _, field in ipairs(call('HKEYS', leases_of(worker))) do
      local queue = queues[queue_of(field)]
      if queue then queue.leased = queue.leased + 1 end
    end
  end
end

local function redelivered(message)
  if string.find(message, '"redelivered": ?true') then return message end
  return (string.gsub(message, '("delivery_info": ?{%s*)"', '%1"redelivered":true,"', 1))
end

-- Returns leases of these workers to the heads of their queues, in the order in which they were taken.
-- `is_wanted(lease)`, if given, selects them; `changed(message)`, if given, edits each message. Returns how many there
-- were. Those of a queue whose key is no list stay.
local function give_back(workers, is_wanted, changed)
  local count, names, by_name = 0, {}, {}
  for _, worker in ipairs(workers) do
    local all = call('HGETALL', leases_of(worker))
    for i = 1, #all, 2 do
      local lease = read_lease(all[i + 1])
      lease.worker, lease.field = worker, all[i]
      if not is_wanted or is_wanted(lease) then
        local name = queue_of(lease.field)
        if not by_name[name] then
          by_name[name] = {}
          names[#names + 1] = name
        end
        table.insert(by_name[name], lease)
      end
    end
  end
  for _, queue in ipairs(load_queues(names)) do
    local found = by_name[queue.name]
    table.sort(found, function(a, b)
      if a.taken_at ~= b.taken_at then return a.taken_at > b.taken_at end
      if a.number ~= b.number then return a.number > b.number end
      return a.position > b.position
    end)
    for _, lease in ipairs(found) do
      local message = changed and changed(lease.message) or lease.message
      if pcall(call, 'RPUSH', list(queue.name), message) then
        call('HDEL', leases_of(lease.worker), lease.field)
        queue.leased = queue.leased - 1
        count = count + 1
      end
    end
  end
  write_counts()
  for _, name in ipairs(names) do announce(place(queues[name])) end
  return count
end

-- Messages ----------------------------------------------------------------------------------------------------------

-- A message's id is its delivery tag; nil if it has none. The last one in the message is its own, because kombu writes
-- the properties last; usually it is within the last TAIL bytes.
local function id_of(message)
  local at = string.find(message, '"delivery_tag"', -TAIL, true) or string.find(message, '"delivery_tag"', 1, true)
  local last
  while at do
    last, at = at, string.find(message, '"delivery_tag"', at + 1, true)
  end
  return last and string.match(message, '^"delivery_tag": ?"([^"]*)"', last)
end
