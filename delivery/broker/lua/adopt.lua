#!lua
-- Gives lists that somebody filled without this broker their place in line. ARGV: queues. Returns how many had none.

local adopted = 0
for i = 4, #ARGV do
  local queue = ARGV[i]
  if not call('ZSCORE', DUE, queue) and call('EXISTS', list(queue)) == 1 then
    announce(place(look(queue)))
    adopted = adopted + 1
  end
end
write_down()
return adopted
