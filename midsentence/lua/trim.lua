-- Trims the deltas of turns whose replay window is over. KEYS: jobs, trims, wake. ARGV: key prefix, limit. Replies
-- the number of sessions that were due. The newest `end` stays, so that the cursor of a reader who has everything is
-- still in the log. Keys of sessions are built here from the prefix: all are in the slot of KEYS (keys.py,
-- `session`).
local prefix, limit = unpack(ARGV)
local trims = KEYS[2]
local due = redis.call('ZRANGEBYSCORE', trims, '-inf', whole(now()), 'LIMIT', 0, limit)
for _, session_id in ipairs(due) do
  local meta = prefix .. session_id
  -- A session whose keys are not as they should be keeps nobody from the others.
  local ended = redis.pcall('HGET', meta, 'ended')
  if ended and not is_error(ended) then
    redis.pcall('XTRIM', meta .. ':log', 'MINID', ended)
  end
  redis.call('ZREM', trims, session_id)
end
return #due
