#!lua flags=allow-oom
-- ARGV: queues. Returns for each: ready, delayed, leased, tokens ('': no rate), paused_until ('': not paused), and when
-- the next message was or will be due ('': unknown).

local function due_at(queue)
  local first = call('LINDEX', list(queue), -1)
  if first then return string.match(first, '"timestamp": ?([%d.]+)') or '' end
  return call('ZRANGE', key('delayed', queue), 0, 0, 'WITHSCORES')[2] or ''
end

local answer = {}
for i = 4, #ARGV do
  local queue = ARGV[i]
  local loaded = load_queue(queue)
  local limits = loaded.limits
  local paused_until = limits.paused_until or 0
  local due = call('ZCOUNT', key('delayed', queue), '-inf', now) -- ready, though nothing has moved them yet
  answer[#answer + 1] = {
    call('LLEN', list(queue)) + due,
    call('ZCARD', key('delayed', queue)) - due,
    loaded.leased,
    limits.rate and stamp(limits.burst - (full_at(loaded) - now) * limits.rate) or '',
    paused_until > now and string.format('%.17g', paused_until) or '',
    due_at(queue),
  }
end
return answer
