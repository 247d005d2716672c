#!lua flags=allow-oom
-- A worker is alive. Gives the leases of those who are not back to the heads of their queues.
-- ARGV 4: worker, 5: seconds of silence after which a worker counts as dead, 6: the longest gap between two beats of
-- anybody that is no accident. Returns 1 if this worker was known, then the names of the dead, and how many leases went back.

local WORKER, SILENCE_S, GAP_S = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

-- When nobody could beat (the server was away, or its clock jumped), the time that passed says nothing about anybody:
-- all beats move along, so that each worker gets the rest of its time to be heard again.
local last = call('ZREVRANGE', WORKERS, 0, 0, 'WITHSCORES')
if last[2] then
  local gap = now - tonumber(last[2])
  if gap > GAP_S or gap < -GAP_S then
    for _, name in ipairs(call('ZRANGE', WORKERS, 0, -1)) do call('ZINCRBY', WORKERS, gap, name) end
  end
  if gap < -GAP_S then -- the clock was put back: places in line were given by the old one
    for _, queue in ipairs(call('ZRANGEBYSCORE', DUE, '(' .. stamp(now), '(inf')) do announce(place(look(queue))) end
  end
end

local answer = {call('ZADD', WORKERS, now, WORKER) == 0 and 1 or 0}
local dead = call('ZRANGEBYSCORE', WORKERS, '-inf', now - SILENCE_S)
if #dead > 0 then
  local is_dead = {}
  for _, name in ipairs(dead) do
    is_dead[name] = true
    answer[#answer + 1] = name
    call('ZREM', WORKERS, name)
    waits_no_more(name)
    call('HDEL', FENCES, name)
  end
  answer[#answer + 1] = give_back(function(held) return is_dead[held.worker] end, redelivered)
end
write_down()
return answer
