-- Keeps what the running turn folds to up to one of its events, for whoever reads the session. ARGV: lease, the event's id in the log,
-- folded messages, ttl. Replies 1, or 0 where the lease is another's by now or a failover lost the event.
if redis.call('HGET', META, 'lease') ~= ARGV[1] or not redis.call('XRANGE', LOG, ARGV[2], ARGV[2])[1] then
  return 0
end
redis.call('HSET', META, 'folded', ARGV[2])
redis.call('HSET', TURNS, 'running', ARGV[3])
redis.call('PEXPIRE', TURNS, ARGV[4])
return 1
