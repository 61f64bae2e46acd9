-- Claims turns that wait or whose lease expired. KEYS: jobs, trims, wake. ARGV: key prefix, worker, lease (ms),
-- limit, the worker's default model, and the names of its other models.
-- Replies a list of claims, {session id, turn, epoch, id of the log's last event, attempt, whether a stop was asked
-- for, mark, model}, and a list of the sessions that cannot be claimed, {session id, error}. The model is the one that
-- the message names if this worker has it, else the default. The new epoch fences the former holder. Keys of sessions
-- are built here from the prefix: all are in the slot of KEYS (keys.py, `session`).

-- A session that cannot be claimed is tried again after this time (ms). Until then it keeps nobody from the others.
local BROKEN_MS = 60000

local prefix, worker, lease_ms, limit, default = unpack(ARGV)
local models = {}
for i = 6, #ARGV do
  models[ARGV[i]] = true
end
local jobs = KEYS[1]
local time, claims, broken = now(), {}, {}

-- The claim of one session, or nil where it has no turn to run. Raises an error where its keys are not as they should
-- be, or the user lacks a right.
local function claim(session_id)
  if not is_session_id(session_id) then
    redis.call('ZREM', jobs, session_id)
    return nil
  end
  local meta = prefix .. session_id
  local state, turn, top, stop, mark, epoch, base_then, attempt, wanted = unpack(
    redis.call('HMGET', meta, 'state', 'turn', 'top', 'stop', 'mark', 'epoch', 'epoch_base', 'attempt', 'wanted')
  )
  if not state or state == 'idle' then
    redis.call('ZREM', jobs, session_id) -- the session was deleted or expired
    return nil
  end
  -- What cannot be read of the hash is taken from the log, and so repaired.
  top, turn = known_top(meta .. ':log', top), known_turn(meta .. ':log', turn, top)
  local base = epoch_base(meta)
  epoch = number_of(epoch) or tonumber(string.match(top, '%.(%d+)'))
  epoch = next_epoch(epoch, number_of(base_then, 0), base)
  attempt = number_of(attempt, 0) + 1
  local holder = lease_holder(worker, turn, epoch)
  local model = models[wanted] and wanted or default
  -- The job before the lease: a lease without its time would be claimed again and again, and each claim counts as an
  -- attempt.
  redis.call('ZADD', jobs, whole(time + lease_ms), session_id)
  redis.call('HSET', meta, 'epoch', epoch, 'epoch_base', base, 'attempt', attempt, 'turn', turn, 'top', top)
  redis.call('HSET', meta, 'lease', holder, 'state', 'streaming', 'model', model)
  redis.pcall('SPUBLISH', meta .. ':live', announcement(top, top, 's', ''))
  return { session_id, tonumber(turn), epoch, top, attempt, stop == turn and 1 or 0, mark or '', model }
end

for _, session_id in ipairs(redis.call('ZRANGEBYSCORE', jobs, '-inf', whole(time), 'LIMIT', 0, limit)) do
  local is_done, result = pcall(claim, session_id)
  if not is_done then
    redis.pcall('ZADD', jobs, whole(time + BROKEN_MS), session_id)
    broken[#broken + 1] = { session_id, type(result) == 'table' and result.err or tostring(result) }
  elseif result then
    claims[#claims + 1] = result
  end
end
return { claims, broken }
