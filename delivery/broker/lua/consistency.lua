#!lua flags=allow-oom
-- ARGV 4: number of workers that have leases, then their names (workers that are known may be left out); then queues.
-- Returns for each queue: ready, delayed, leased, known ids, place in line ('' for none), leases by COUNTS, and how many
-- of its leases belong to unknown workers.

local is_alive, workers = {}, call('ZRANGE', WORKERS, 0, -1)
for _, worker in ipairs(workers) do is_alive[worker] = true end
local first = 5 + tonumber(ARGV[4])
for i = 5, first - 1 do
  if not is_alive[ARGV[i]] then workers[#workers + 1] = ARGV[i] end
end

local leased, orphans = {}, {}
for _, worker in ipairs(workers) do
  for _, field in ipairs(call('HKEYS', leases_of(worker))) do
    local name = queue_of(field)
    leased[name] = (leased[name] or 0) + 1
    if not is_alive[worker] then orphans[name] = (orphans[name] or 0) + 1 end
  end
end

local answer = {}
for i = first, #ARGV do
  local queue = ARGV[i]
  answer[#answer + 1] = {
    call('LLEN', list(queue)),
    call('ZCARD', key('delayed', queue)),
    leased[queue] or 0,
    call('SCARD', key('known', queue)),
    call('ZSCORE', DUE, queue) or '',
    load_queue(queue).leased,
    orphans[queue] or 0,
  }
end
return answer
