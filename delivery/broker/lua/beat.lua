#!lua flags=allow-oom
-- A worker's heartbeat. Returns the leases of dead workers to the heads of their queues.
-- ARGV 4: worker, 5: seconds of silence after which a worker is dead, 6: the longest normal time without any heartbeat.
-- Returns 1 if this worker was known, else 0; if workers are dead, also their names and how many leases were returned.

local WORKER, SILENCE_S, GAP_S = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

-- When no worker could beat (the server was away, or its clock jumped), the time that passed says nothing about any of
-- them. All last heartbeats move by that time, so that each worker keeps what was left of its time.
local last = call('ZREVRANGE', WORKERS, 0, 0, 'WITHSCORES')
if last[2] then
  local gap = now - tonumber(last[2])
  if gap > GAP_S or gap < -GAP_S then
    for _, name in ipairs(call('ZRANGE', WORKERS, 0, -1)) do call('ZINCRBY', WORKERS, gap, name) end
  end
  if gap < -GAP_S then -- the clock was put back: the old time gave the places
    for _, queue in ipairs(call('ZRANGEBYSCORE', DUE, '(' .. stamp(now), '(inf')) do announce(place(load_queue(queue))) end
  end
end

call('ZREMRANGEBYSCORE', SERVED, '-inf', now - REMEMBERED_S)
local answer = {call('ZADD', WORKERS, now, WORKER) == 0 and 1 or 0}
local dead = call('ZRANGEBYSCORE', WORKERS, '-inf', now - SILENCE_S)
if #dead > 0 then
  for _, name in ipairs(dead) do
    answer[#answer + 1] = name
    call('ZREM', WORKERS, name)
    stop_waiting(name)
    call('HDEL', FENCES, name)
  end
  answer[#answer + 1] = give_back(dead, nil, redelivered)
end
write_places()
return answer
