"""The Lua scripts: every change of a queue is one of them, so a crash can come only before or after it.

Keys, all beside the lists of ready messages (`partner.<id>`, in kombu's format, newest on the left):
  fair:due              sorted set: queues that have something to do, by the time (ms) when they may be served
  fair:delayed:<queue>  sorted set: messages whose time has not come, by that time (ms)
  fair:known:<queue>    set: ids of all messages of the queue, ready, delayed or leased
  fair:leases:<worker>  hash: id -> queue and message, handed to that worker and not acknowledged
  fair:flying           hash: queue -> number of its leases
  fair:limits:<queue>   hash: rate (a second), burst, cap, paused_until (ms)      (configuration)
  fair:bucket:<queue>   hash: tokens, at (ms); expires when it would be full
  fair:workers          sorted set: worker -> time of its last sign of life (ms)
  fair:bell             list: wakes an idle worker
"""

COMMON = """
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + t[2] / 1000
end
local function ring()
  if redis.call('LLEN', 'fair:bell') < 8 then redis.call('LPUSH', 'fair:bell', '1') end
end
local function fmt(n) return string.format('%.3f', n) end
local function wake(queue, now)
  local at = nil
  if redis.call('EXISTS', queue) == 1 then at = now
  else
    local first = redis.call('ZRANGE', 'fair:delayed:' .. queue, 0, 0, 'WITHSCORES')
    if first[2] then at = tonumber(first[2]) end
  end
  if at then
    local known = redis.call('ZSCORE', 'fair:due', queue)
    if not known or tonumber(known) > at then redis.call('ZADD', 'fair:due', fmt(at), queue) end
    return true
  end
  return false
end
local function landed(queue, count)
  if redis.call('HINCRBY', 'fair:flying', queue, -count) <= 0 then redis.call('HDEL', 'fair:flying', queue) end
end
local function pack(queue, message) return #queue .. ':' .. queue .. message end
local function unpack_lease(value)
  local size = string.match(value, '^(%d+):')
  local start = #size + 2
  return string.sub(value, start, start + size - 1), string.sub(value, start + size)
end
"""

# ARGV: queue, id, due_ms ('' for now), message, repeated. Returns how many were not known.
PUBLISH = (
    COMMON
    + """
local now = now_ms()
local touched, added = {}, 0
for i = 1, #ARGV, 4 do
  local queue, id, due, message = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('SADD', 'fair:known:' .. queue, id) == 1 then
    added = added + 1
    if due ~= '' and tonumber(due) > now then
      redis.call('ZADD', 'fair:delayed:' .. queue, due, message)
    else
      redis.call('LPUSH', queue, message)
    end
    touched[queue] = true
  end
end
for queue in pairs(touched) do wake(queue, now) end
if added > 0 then ring() end
return added
"""
)

# ARGV: worker, room. Returns {next_due_ms, more, message, message, ...}; next_due '' when nothing waits.
FETCH = (
    COMMON
    + """
local worker, room = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
local out = {'', 0}
local leases = 'fair:leases:' .. worker
local line = now
for _ = 1, 200 do
  if room <= 0 then break end
  local first = redis.call('ZRANGE', 'fair:due', 0, 0, 'WITHSCORES')
  if not first[1] or tonumber(first[2]) > now then break end
  local queue = first[1]
  local delayed = 'fair:delayed:' .. queue
  local ripe = redis.call('ZRANGEBYSCORE', delayed, '-inf', fmt(now), 'LIMIT', 0, 100)
  if #ripe > 0 then
    redis.call('LPUSH', queue, unpack(ripe))
    redis.call('ZREM', delayed, unpack(ripe))
  end
  local ready = redis.call('LLEN', queue)
  local grant = math.min(room, ready, 8)
  local at = nil
  local limits = redis.call('HMGET', 'fair:limits:' .. queue, 'rate', 'burst', 'cap', 'paused_until')
  local paused = tonumber(limits[4] or '') or 0
  local bucket, tokens, rate = 'fair:bucket:' .. queue, nil, tonumber(limits[1] or '')
  local capped = false
  if paused > now then
    grant, at = 0, paused
  else
    if limits[3] then
      local free = tonumber(limits[3]) - (tonumber(redis.call('HGET', 'fair:flying', queue) or '0'))
      if free <= grant then grant, capped = math.max(free, 0), true end
    end
    if rate then
      local burst = tonumber(limits[2])
      local held = redis.call('HMGET', bucket, 'tokens', 'at')
      tokens = burst
      if held[1] then
        tokens = math.min(burst, tonumber(held[1]) + math.max(0, now - tonumber(held[2])) * rate / 1000)
      end
      if tokens < grant then
        grant = math.floor(tokens + 1e-9)
        capped = false
      end
      if tokens - grant < 1 then at = now + (1 - (tokens - grant)) * 1000 / rate end
    end
  end
  if grant > 0 then
    local popped = redis.call('RPOP', queue, grant)
    for _, message in ipairs(popped) do
      local id = string.match(message, '"delivery_tag": ?"([^"]+)"')
      redis.call('HSET', leases, id, pack(queue, message))
      out[#out + 1] = message
    end
    redis.call('HINCRBY', 'fair:flying', queue, #popped)
    room = room - #popped
    ready = ready - #popped
    if rate then
      redis.call('HSET', bucket, 'tokens', fmt(tokens - #popped), 'at', fmt(now))
      redis.call('PEXPIRE', bucket, math.ceil(tonumber(limits[2]) / rate * 1000) + 1000)
    end
  end
  if ready > 0 then
    if capped then
      redis.call('ZREM', 'fair:due', queue)
    else
      line = line + 0.001
      redis.call('ZADD', 'fair:due', fmt(math.max(at or 0, line)), queue)
    end
  else
    local later = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
    if later[2] then redis.call('ZADD', 'fair:due', fmt(math.max(at or 0, tonumber(later[2]))), queue)
    else redis.call('ZREM', 'fair:due', queue) end
  end
end
local following = redis.call('ZRANGE', 'fair:due', 0, 0, 'WITHSCORES')
if following[2] then
  out[1] = fmt(tonumber(following[2]) - now)
  if tonumber(following[2]) <= now + 1 then out[2] = 1; ring() end
end
return out
"""
)

# ARGV: worker, id, id, ... Returns how many leases ended.
ACK = (
    COMMON
    + """
local now, ended, woken = now_ms(), 0, {}
local leases = 'fair:leases:' .. ARGV[1]
for i = 2, #ARGV do
  local value = redis.call('HGET', leases, ARGV[i])
  if value then
    local queue = unpack_lease(value)
    redis.call('HDEL', leases, ARGV[i])
    redis.call('SREM', 'fair:known:' .. queue, ARGV[i])
    landed(queue, 1)
    ended = ended + 1
    woken[queue] = true
  end
end
local any = false
for queue in pairs(woken) do
  if not redis.call('ZSCORE', 'fair:due', queue) and wake(queue, now) then any = true end
end
if any then ring() end
return ended
"""
)

# ARGV: worker ('' for any live one), id, due_ms ('' for at once, at the head). Returns 1 when there was such a lease.
RELEASE = (
    COMMON
    + """
local workers = ARGV[1] ~= '' and {ARGV[1]} or redis.call('ZRANGE', 'fair:workers', 0, -1)
for _, worker in ipairs(workers) do
  local leases = 'fair:leases:' .. worker
  local value = redis.call('HGET', leases, ARGV[2])
  if value then
    local queue, message = unpack_lease(value)
    redis.call('HDEL', leases, ARGV[2])
    landed(queue, 1)
    if ARGV[3] ~= '' then redis.call('ZADD', 'fair:delayed:' .. queue, ARGV[3], message)
    else redis.call('RPUSH', queue, message) end
    wake(queue, now_ms())
    ring()
    return 1
  end
end
return 0
"""
)

# ARGV: worker. Returns every lease of it to the head of its queue; returns how many.
RELEASE_WORKER = (
    COMMON
    + """
local leases = 'fair:leases:' .. ARGV[1]
local all = redis.call('HGETALL', leases)
local now = now_ms()
for i = 1, #all, 2 do
  local queue, message = unpack_lease(all[i + 1])
  redis.call('RPUSH', queue, message)
  landed(queue, 1)
  wake(queue, now)
end
redis.call('DEL', leases)
redis.call('ZREM', 'fair:workers', ARGV[1])
if #all > 0 then ring() end
return #all / 2
"""
)

# ARGV: worker, ms after which a silent one counts as dead. Returns the names of the dead.
BEAT = (
    COMMON
    + """
local now = now_ms()
redis.call('ZADD', 'fair:workers', fmt(now), ARGV[1])
return redis.call('ZRANGEBYSCORE', 'fair:workers', '-inf', fmt(now - tonumber(ARGV[2])))
"""
)

# ARGV: queue, rate a second ('' none), burst, cap ('' none), paused_until ms ('' none), repeated.
CONFIGURE = (
    COMMON
    + """
local now, any = now_ms(), false
for i = 1, #ARGV, 5 do
  local queue = ARGV[i]
  local key = 'fair:limits:' .. queue
  redis.call('DEL', key)
  if ARGV[i + 1] ~= '' then redis.call('HSET', key, 'rate', ARGV[i + 1], 'burst', ARGV[i + 2]) end
  if ARGV[i + 1] == '' then redis.call('DEL', 'fair:bucket:' .. queue) end
  if ARGV[i + 3] ~= '' then redis.call('HSET', key, 'cap', ARGV[i + 3]) end
  if ARGV[i + 4] ~= '' then redis.call('HSET', key, 'paused_until', ARGV[i + 4]) end
  if wake(queue, now) then any = true end
end
if any then ring() end
return 1
"""
)
