-- Takes turns that wait or whose lease ran out. KEYS: jobs, trims, wake. ARGV: key prefix, worker, lease, how many, model.
-- Replies a list of {session id, turn, epoch, seq, attempt}. Taking a turn raises its epoch, which fences whoever held it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claims = {}
for _, session_id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[4])) do
  local meta = ARGV[1] .. session_id
  local held = redis.call('HMGET', meta, 'state', 'turn', 'seq', 'top')
  if not held[1] or held[1] == 'idle' then
    redis.call('ZREM', KEYS[1], session_id) -- deleted or expired meanwhile
  else
    local epoch = redis.call('HINCRBY', meta, 'epoch', 1)
    local attempt = redis.call('HINCRBY', meta, 'attempt', 1)
    redis.call('HSET', meta, 'worker', ARGV[2], 'state', 'streaming', 'model', ARGV[5])
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), session_id)
    redis.call('SPUBLISH', meta .. ':live', held[4] .. ' ' .. held[4] .. ' s\n')
    claims[#claims + 1] = { session_id, tonumber(held[2]), epoch, tonumber(held[3]), attempt }
  end
end
return claims
