#!lua flags=allow-oom
-- ARGV: queues. Returns for each: ready, delayed, leased, tokens ('': no rate) and paused_until ('': not paused).

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
  }
end
return answer
