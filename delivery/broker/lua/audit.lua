#!lua flags=allow-oom
-- ARGV: queues. Returns for each: ready, delayed, leased, ids known, its place in line ('' for none), 1 if it is noted to
-- have leases, and how many of its leases belong to workers that nobody knows.

local alive = {}
for _, name in ipairs(call('ZRANGE', WORKERS, 0, -1)) do alive[name] = true end

local answer = {}
for i = 4, #ARGV do
  local queue = ARGV[i]
  local strangers = 0
  for _, lease in ipairs(call('HVALS', key('leases', queue))) do
    if not alive[read_lease(lease).worker] then strangers = strangers + 1 end
  end
  answer[#answer + 1] = {
    call('LLEN', list(queue)),
    call('ZCARD', key('delayed', queue)),
    call('HLEN', key('leases', queue)),
    call('SCARD', key('known', queue)),
    call('ZSCORE', DUE, queue) or '',
    call('SISMEMBER', LEASED, queue),
    strangers,
  }
end
return answer
