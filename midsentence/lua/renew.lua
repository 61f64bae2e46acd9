-- Prolongs a lease on Redis' clock. ARGV: session id, worker, turn, epoch, lease. Replies 1, 2 where a stop was asked for, or 0 where the turn
-- is somebody else's.
local held = redis.call('HMGET', META, 'lease', 'stop')
if held[1] ~= lease(ARGV[2], ARGV[3], ARGV[4]) then
  return 0
end
redis.call('ZADD', JOBS, 'XX', whole(now() + ARGV[5]), ARGV[1])
return held[2] == ARGV[3] and 2 or 1
