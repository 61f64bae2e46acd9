-- Gives a turn back for another worker to claim at once. ARGV: session id, holder, whether the attempt counts ('1' or
-- '0'). Replies 1, or 0 where the lease is another worker's.
local session_id, holder, counts = unpack(ARGV)
local lease, top = unpack(redis.call('HMGET', META, 'lease', 'top'))
if lease ~= holder then
  return 0
end
if counts == '0' then
  redis.call('HINCRBY', META, 'attempt', -1)
end
redis.call('HDEL', META, 'lease')
redis.call('HSET', META, 'state', 'queued')
enqueue_job(session_id)
announce_state(top)
return 1
