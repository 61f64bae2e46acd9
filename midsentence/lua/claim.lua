-- Claims turns that wait or whose lease expired. KEYS: jobs, trims, wake. ARGV: key prefix, worker, lease (ms),
-- limit, model.
-- Replies a list of {session id, turn, epoch, id of the log's last event, attempt, whether a stop was asked for,
-- mark}. The new epoch fences the former holder. Keys of sessions are built here from the prefix: all are in the slot
-- of KEYS (keys.py, `session`).
local prefix, worker, lease_ms, limit, model = unpack(ARGV)
local jobs = KEYS[1]
local time, claims = now(), {}
for _, session_id in ipairs(redis.call('ZRANGEBYSCORE', jobs, '-inf', whole(time), 'LIMIT', 0, limit)) do
  local meta = prefix .. session_id
  local state, turn, top, stop, mark, epoch, base_then =
    unpack(redis.call('HMGET', meta, 'state', 'turn', 'top', 'stop', 'mark', 'epoch', 'epoch_base'))
  if not state or state == 'idle' then
    redis.call('ZREM', jobs, session_id) -- the session was deleted or expired
  else
    local base = epoch_base(meta)
    epoch = next_epoch(tonumber(epoch), tonumber(base_then), base)
    redis.call('HSET', meta, 'epoch', epoch, 'epoch_base', base)
    local attempt = redis.call('HINCRBY', meta, 'attempt', 1)
    local holder = lease_holder(worker, turn, epoch)
    redis.call('HSET', meta, 'lease', holder, 'state', 'streaming', 'model', model)
    redis.call('ZADD', jobs, whole(time + lease_ms), session_id)
    redis.call('SPUBLISH', meta .. ':live', announcement(top, top, 's', ''))
    claims[#claims + 1] = { session_id, tonumber(turn), epoch, top, attempt, stop == turn and 1 or 0, mark or '' }
  end
end
return claims
