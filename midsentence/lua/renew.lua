-- Prolongs a lease on the clock of Redis. ARGV: session id, holder, turn, lease (ms), ttl (ms). Replies 1, 2 where
-- a stop was asked for, or 0 where the lease is another worker's.
local session_id, holder, turn, lease_ms, ttl = unpack(ARGV)
local lease, stop = unpack(redis.call('HMGET', META, 'lease', 'stop'))
if lease ~= holder then
  return 0
end
-- Not XX: Redis may have lost the job, with an evicted key for example, and only it brings the turn to another worker.
if redis.call('ZADD', JOBS, whole(now() + lease_ms), session_id) == 1 then
  keep(ttl, { JOBS })
end
return stop == turn and 2 or 1
