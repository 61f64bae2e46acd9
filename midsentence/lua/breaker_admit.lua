-- Asks whether the model may be asked. ARGV: worker. Replies as `reply`: an open breaker without a time to wait makes
-- the worker's next call the probe, and the others wait for its result.
local time = now()
local state = view(time)
if state[1] == OPEN and state[2] == 0 then
  redis.call('HSET', BREAKER, 'probe', WORKER, 'until', whole(time + PROBE))
  keep_breaker(PROBE + WINDOW)
end
return state
