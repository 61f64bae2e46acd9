-- Lets go of the deltas of turns whose replay window is over. KEYS: jobs, trims, wake. ARGV: key prefix, how many. Replies how many were trimmed.
-- The newest end stays, so that a reader who is caught up keeps a cursor that the log holds.
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now()), 'LIMIT', 0, ARGV[2])
for _, session_id in ipairs(due) do
  local ended = redis.call('HGET', ARGV[1] .. session_id, 'ended')
  if ended then
    redis.call('XTRIM', ARGV[1] .. session_id .. ':log', 'MINID', ended)
  end
  redis.call('ZREM', KEYS[2], session_id)
end
return #due
