-- Forgets a session. ARGV: session id, owner. Replies 1, or 0 where there is none of this owner. Its worker is fenced at its next append.
if redis.call('HGET', META, 'owner') ~= ARGV[2] then
  return 0
end
redis.call('DEL', META, LOG, TURNS, QUEUE, SEEN)
redis.call('ZREM', JOBS, ARGV[1])
redis.call('ZREM', TRIMS, ARGV[1])
announce('0.0-0', '0.0-0', 's', '')
return 1
