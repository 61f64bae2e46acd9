-- Prolongs a lease on the clock of Redis. ARGV: session id, holder, turn, lease (ms). Replies 1, 2 where a stop was
-- asked for, or 0 where the lease is another worker's.
local session_id, holder, turn, lease_ms = unpack(ARGV)
local lease, stop = unpack(redis.call('HMGET', META, 'lease', 'stop'))
if lease ~= holder then
  return 0
end
redis.call('ZADD', JOBS, 'XX', whole(now() + lease_ms), session_id)
return stop == turn and 2 or 1
