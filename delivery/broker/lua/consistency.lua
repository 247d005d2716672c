#!lua flags=allow-oom
-- ARGV: queues. Returns for each: ready, delayed, leased, known ids, place in line ('' for none), 1 if LEASED names it
-- (else 0), and how many of its leases belong to unknown workers.

local alive = {}
for _, name in ipairs(call('ZRANGE', WORKERS, 0, -1)) do alive[name] = true end

local answer = {}
for i = 4, #ARGV do
  local queue = ARGV[i]
  local orphans = 0
  for _, lease in ipairs(call('HVALS', key('leases', queue))) do
    if not alive[read_lease(lease).worker] then orphans = orphans + 1 end
  end
  answer[#answer + 1] = {
    call('LLEN', list(queue)),
    call('ZCARD', key('delayed', queue)),
    call('HLEN', key('leases', queue)),
    call('SCARD', key('known', queue)),
    call('ZSCORE', DUE, queue) or '',
    call('SISMEMBER', LEASED, queue),
    orphans,
  }
end
return answer
