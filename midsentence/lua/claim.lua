-- Takes turns that wait or whose lease ran out. KEYS: jobs, trims, wake. ARGV: key prefix, worker, lease, how many, model.
-- Replies a list of {session id, turn, epoch, seq, attempt, whether a stop was asked for, mark}. Taking a turn raises its
-- epoch, which fences whoever held it.
local time, claims = now(), {}
for _, session_id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(time), 'LIMIT', 0, ARGV[4])) do
  local meta = ARGV[1] .. session_id
  local held = redis.call('HMGET', meta, 'state', 'turn', 'top', 'stop', 'mark', 'epoch', 'epoch_base')
  if not held[1] or held[1] == 'idle' then
    redis.call('ZREM', KEYS[1], session_id) -- deleted or expired meanwhile
  else
    local base, epoch = epoch_base(meta), tonumber(held[6])
    if base ~= tonumber(held[7]) then
      -- Another process gave the last one, and perhaps more that are lost: go on in a ten that it did not touch.
      epoch = math.max(base, (math.floor(epoch / 10) + 1) * 10)
    end
    epoch = math.min(epoch + 1, 999)
    redis.call('HSET', meta, 'epoch', epoch, 'epoch_base', base)
    local attempt = redis.call('HINCRBY', meta, 'attempt', 1)
    redis.call('HSET', meta, 'lease', lease(ARGV[2], held[2], epoch), 'state', 'streaming', 'model', ARGV[5])
    redis.call('ZADD', KEYS[1], whole(time + ARGV[3]), session_id)
    redis.call('SPUBLISH', meta .. ':live', held[3] .. ' ' .. held[3] .. ' s\n')
    claims[#claims + 1] = {
      session_id, tonumber(held[2]), epoch, tonumber(string.match(held[3], '%d+$')), attempt,
      held[4] == held[2] and 1 or 0, held[5] or '',
    }
  end
end
return claims
