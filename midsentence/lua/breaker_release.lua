-- Gives a probe up that ended without a result, so that another call probes at once. ARGV: worker. Replies as `reply`.
if fields('probe') == WORKER then
  redis.call('HDEL', BREAKER, 'probe', 'until')
end
return view(now())
