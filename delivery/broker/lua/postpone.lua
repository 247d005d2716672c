#!lua flags=allow-oom
-- Takes a message that is leased to whomever, to come again later; its acknowledgement then means nothing.
-- ARGV 4: queue, 5: id, 6: seconds. Returns 1, or 0 when there is no such lease.

local queue, id, delay_s = look(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local lease = call('HGET', key('leases', queue.name), id)
if not lease then return 0 end
call('HDEL', key('leases', queue.name), id)
count_leases(queue)
lease = read_lease(lease)
refund(queue, 1, lease.taken_at)
call('ZADD', key('delayed', queue.name), now + math.max(delay_s, 0), lease.message)
announce(place(queue))
write_down()
return 1
