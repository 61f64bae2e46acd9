-- Gives a turn back for another worker to claim at once. ARGV: session id, holder, whether the attempt counts ('1' or
-- '0'), ttl (ms), how many attempts count at least. Replies 1, or 0 where the lease is another worker's.
local session_id, holder, counts, ttl, least = unpack(ARGV)
local lease, top, attempt = unpack(redis.call('HMGET', META, 'lease', 'top', 'attempt'))
if lease ~= holder then
  return 0
end
attempt = math.max(number_of(attempt, 1) - (counts == '0' and 1 or 0), tonumber(least))
-- Where the job cannot be moved to now, the turn is claimed when the lease would have ended.
redis.call('HSET', META, 'state', 'queued', 'lease', '', 'attempt', attempt)
enqueue_job(session_id)
keep(ttl, { JOBS })
announce_state(top)
return 1
