#!lua
-- Puts lists in line that a producer filled without this broker. ARGV: queues. Returns how many were not in line.

local adopted = 0
for i = 4, #ARGV do
  local queue = ARGV[i]
  if not call('ZSCORE', DUE, queue) and call('EXISTS', list(queue)) == 1 then
    announce(place(load_queue(queue)))
    adopted = adopted + 1
  end
end
write_places()
return adopted
