-- Closes a breaker: the model answers. ARGV: worker. Replies as `reply`.
local time = now()
local ends, asked, probe = fields('ends', 'asked', 'probe')
-- The answer to a call that was sent before says nothing about the time for which the provider asked.
if asked == '1' and probe ~= WORKER and tonumber(ends) > time then
  return view(time)
end
redis.call('DEL', BREAKER)
return reply(CLOSED, 0)
