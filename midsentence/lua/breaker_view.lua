-- The state of a breaker. ARGV: worker, and '1' where the worker goes on with its probe. Replies as `reply`.
local time = now()
if ARGV[2] == '1' and fields('probe') == WORKER then
  redis.call('HSET', BREAKER, 'until', whole(time + PROBE))
  keep_breaker(PROBE + WINDOW)
end
return view(time)
