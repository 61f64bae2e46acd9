-- Gives a turn back, for another worker to take over at once. ARGV: session id, worker, turn, epoch, whether it counts as an attempt.
local held = redis.call('HMGET', META, 'worker', 'turn', 'epoch', 'top')
if held[1] ~= ARGV[2] or held[2] ~= ARGV[3] or held[3] ~= ARGV[4] then
  return 0
end
if ARGV[5] == '0' then
  redis.call('HINCRBY', META, 'attempt', -1)
end
redis.call('HDEL', META, 'worker')
redis.call('HSET', META, 'state', 'queued')
redis.call('ZADD', JOBS, whole(now()), ARGV[1])
redis.call('SPUBLISH', WAKE, ARGV[1])
announce(held[4], held[4], 's', '')
return 1
