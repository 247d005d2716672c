#!lua flags=allow-oom
-- Ends a message's lease, whichever worker has it, and delays the message. Settling that lease then has no effect.
-- ARGV 4: queue, 5: id, 6: seconds. Returns 1, or 0 if the message is not leased.

local queue, id, delay_s = load_queue(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local field = field_of(queue.name, id)
for _, worker in ipairs(call('ZRANGE', WORKERS, 0, -1)) do
  local found = call('HGET', leases_of(worker), field)
  if found then
    local lease = read_lease(found)
    call('HDEL', leases_of(worker), field)
    queue.leased = queue.leased - 1
    write_counts()
    if not is_free(id) then refund(queue, 1, lease.taken_at) end
    call('ZADD', key('delayed', queue.name), now + math.max(delay_s, 0), lease.message)
    announce(place(queue))
    write_places()
    return 1
  end
end
return 0
