#!lua flags=allow-oom
-- Takes a message that is leased to whomever, to come again later; its acknowledgement then means nothing.
-- ARGV 4: queue, 5: id, 6: seconds. Returns 1, or 0 when there is no such lease.

local queue, id, delay_s = ARGV[4], ARGV[5], tonumber(ARGV[6])
local lease = call('HGET', key('leases', queue), id)
if not lease then return 0 end
call('HDEL', key('leases', queue), id)
forget_if_unleased(queue)
call('ZADD', key('delayed', queue), now + math.max(delay_s, 0), read_lease(lease).message)
announce(place(queue))
return 1
