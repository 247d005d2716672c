-- Stands before every script. What a key holds is written in README.md; times are Unix seconds of the server's clock.
-- ARGV 1: key prefix of the whole application, 2: what names of fair queues begin with, 3: the time, '' for the clock's.

local GLOBAL, PREFIX = ARGV[1], ARGV[2]
local call, INF = redis.call, math.huge
local POLL_S = 1.5      -- an idle worker looks by itself at least this often
local BELL_KEPT_S = 10  -- a bell that nobody answers goes away; whoever comes later looks by itself
local CHUNK = 1000      -- as many values as unpack() may put on Lua's stack at once, with room to spare

local now = tonumber(ARGV[3])
if not now then
  local clock = call('TIME')
  now = clock[1] + clock[2] / 1000000
end

local function key(kind, queue) return GLOBAL .. 'fair:' .. kind .. ':' .. (queue or PREFIX .. '*') end

local DUE, NEW, LIMITS, LEASED = key('due'), key('new'), key('limits'), key('leased')
local WORKERS, FENCES, WAITING, WATCH = key('workers'), key('fences'), key('waiting'), key('watch')

local function list(queue) return GLOBAL .. queue end

local function milliseconds(s) return string.format('%d', math.max(1, math.ceil(s * 1000))) end

local function stamp(at) return string.format('%.6f', at) end

local function in_chunks(values, take)
  for start = 1, #values, CHUNK do
    take(unpack(values, start, math.min(start + CHUNK - 1, #values)))
  end
end

-- Limits ------------------------------------------------------------------------------------------------------------

-- One field per queue: "rate burst cap paused_until", '-' for none. With them goes what the script has read of the
-- queue already, and keeps up to date: `full_at` and `leased`.
local function limits_of(queue)
  local packed = call('HGET', LIMITS, queue)
  if not packed then return {} end
  local rate, burst, cap, paused_until = string.match(packed, '(%S+) (%S+) (%S+) (%S+)')
  return {
    rate = tonumber(rate), burst = tonumber(burst), cap = tonumber(cap), paused_until = tonumber(paused_until),
  }
end

local function leased(queue, limits)
  limits.leased = limits.leased or call('HLEN', key('leases', queue))
  return limits.leased
end

-- The token bucket is one number: when it will be full again. Its key expires then.
local function fill(queue, limits, at)
  limits.full_at = at
  if ARGV[3] == '' then
    call('SET', key('bucket', queue), stamp(at), 'PX', milliseconds(at - now))
  else
    call('SET', key('bucket', queue), stamp(at))
  end
end

local function full_at(queue, limits)
  if not limits.full_at then
    local latest = now + limits.burst / limits.rate
    limits.full_at = math.max(tonumber(call('GET', key('bucket', queue)) or now), now)
    -- The rate was raised, or the clock was put back: the bucket is empty, no worse.
    if limits.full_at > latest + 0.001 then fill(queue, limits, latest) end
  end
  return limits.full_at
end

-- Whole tokens in the bucket. A microsecond's worth is forgiven, so that rounding cannot make a due queue wait again.
local function tokens(queue, limits)
  return math.floor(limits.burst - (full_at(queue, limits) - now) * limits.rate + limits.rate / 1000000 + 1e-9)
end

local function spend(queue, limits, count)
  fill(queue, limits, full_at(queue, limits) + count / limits.rate)
end

-- Before this the limits let nothing out; INF: until something else happens.
local function opens_at(queue, limits)
  if limits.cap and leased(queue, limits) >= limits.cap then return INF end
  local at = limits.paused_until or 0
  if limits.rate then at = math.max(at, full_at(queue, limits) - (limits.burst - 1) / limits.rate) end
  return at
end

-- First in, first out by the time when a message was due: delayed ones whose time has come join before anything later.
local function ripen(queue)
  local delayed = key('delayed', queue)
  local ripe = call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, CHUNK)
  if #ripe > 0 then
    call('LPUSH', list(queue), unpack(ripe))
    call('ZREM', delayed, unpack(ripe))
  end
end

local function append(queue, messages)
  ripen(queue)
  in_chunks(messages, function(...) call('LPUSH', list(queue), ...) end)
end

-- The line ----------------------------------------------------------------------------------------------------------

-- Gives a queue its place in the due set: nobody may come later to it than it could be served. Those of which nothing is
-- leased stand in `new` as well. `joins` is its place when it may be served now; `has_ready`: whether it has ready messages,
-- if that is known. Returns the place, nil when nothing waits, and whether the queue is new.
local function place(queue, limits, joins, has_ready)
  local at
  if has_ready == nil then has_ready = call('EXISTS', list(queue)) == 1 end
  if has_ready then
    at = joins or now
  else
    local first = call('ZRANGE', key('delayed', queue), 0, 0, 'WITHSCORES')
    if first[2] then at = math.max(joins or now, tonumber(first[2])) end
  end
  if not at then
    call('ZREM', DUE, queue)
    call('ZREM', NEW, queue)
    return nil
  end
  limits = limits or limits_of(queue)
  at = math.max(at, opens_at(queue, limits))
  call('ZADD', DUE, at, queue)
  local is_new = leased(queue, limits) == 0
  if is_new then call('ZADD', NEW, at, queue) else call('ZREM', NEW, queue) end
  return at, is_new
end

-- Wakes the worker with the most room; for queues that are not new it has to be open. When there is none, those who get
-- room come by themselves. One worker is enough: if it leaves work behind, it wakes the next.
local has_rung = false

local function ring(is_new)
  if has_rung then return end
  local worker, open_room = unpack(call('ZREVRANGE', WAITING, 0, 0, 'WITHSCORES'))
  if not worker or (tonumber(open_room) < 1 and not is_new) then return end
  has_rung = true
  call('ZREM', WAITING, worker)
  call('LPUSH', key('bell', worker), '1')
  call('PEXPIRE', key('bell', worker), milliseconds(BELL_KEPT_S))
end

-- Sees to it that somebody comes for what is due at `at`.
local function announce(at, is_new)
  if not at then return end
  if at <= now then return ring(is_new) end
  if at - now > POLL_S then return end
  local watch = call('GET', WATCH)
  if not watch or tonumber(string.match(watch, '%S+')) > at then ring(true) end
end

-- Leases ------------------------------------------------------------------------------------------------------------

-- A lease is "worker number taken_at position\nmessage": number counts the worker's requests, so that an
-- acknowledgement of a lease that was lost, and taken again since, means nothing.
local function read_lease(lease)
  local worker, number, taken_at, position, start = string.match(lease, '^(%S+) (%d+) (%S+) (%d+)\n()')
  return {
    worker = worker, number = tonumber(number), taken_at = tonumber(taken_at), position = tonumber(position),
    message = string.sub(lease, start),
  }
end

-- Returns whether it was.
local function forget_if_unleased(queue)
  if call('EXISTS', key('leases', queue)) == 1 then return false end
  call('SREM', LEASED, queue)
  return true
end

local function redelivered(message)
  if string.find(message, '"redelivered": ?true') then return message end
  return (string.gsub(message, '("delivery_info": ?{%s*)"', '%1"redelivered":true,"', 1))
end

-- Puts leases back to the heads of their queues, in the order in which they were taken. `wanted` says which.
local function give_back(wanted, changed)
  local count = 0
  for _, queue in ipairs(call('SMEMBERS', LEASED)) do
    local found = {}
    local all = call('HGETALL', key('leases', queue))
    for i = 1, #all, 2 do
      local lease = read_lease(all[i + 1])
      if wanted(lease, queue, all[i]) then
        lease.id = all[i]
        found[#found + 1] = lease
      end
    end
    if #found > 0 then
      table.sort(found, function(a, b)
        if a.taken_at ~= b.taken_at then return a.taken_at > b.taken_at end
        if a.number ~= b.number then return a.number > b.number end
        return a.position > b.position
      end)
      for _, lease in ipairs(found) do
        call('RPUSH', list(queue), changed and changed(lease.message) or lease.message)
        call('HDEL', key('leases', queue), lease.id)
      end
      forget_if_unleased(queue)
      announce(place(queue))
      count = count + #found
    end
  end
  return count
end

-- Messages ----------------------------------------------------------------------------------------------------------

-- The last delivery tag in a message is its own: properties come last in kombu's format.
local function id_of(message)
  local last, at = nil, 0
  repeat
    last, at = at, string.find(message, '"delivery_tag"', at + 1, true)
  until not at
  return string.match(message, '^"delivery_tag": ?"([^"]*)"', last) or 'unreadable:' .. redis.sha1hex(message)
end
