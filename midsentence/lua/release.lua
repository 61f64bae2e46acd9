-- Gives a turn back, for another worker to take over at once. ARGV: session id, worker, turn, epoch, whether it counts as an attempt.
local held = redis.call('HMGET', META, 'lease', 'top')
if held[1] ~= lease(ARGV[2], ARGV[3], ARGV[4]) then
  return 0
end
if ARGV[5] == '0' then
  redis.call('HINCRBY', META, 'attempt', -1)
end
redis.call('HDEL', META, 'lease')
redis.call('HSET', META, 'state', 'queued')
redis.call('ZADD', JOBS, whole(now()), ARGV[1])
redis.call('SPUBLISH', WAKE, ARGV[1])
announce(held[2], held[2], 's', '')
return 1
