-- Accepts a user's message: creates the session where asked to, then begins the turn, or queues the message behind
-- the running turn. ARGV as below; replies {'ok', turn} or {why not, turn}: 'missing', 'mismatch', 'unknown',
-- 'unknown_model', 'busy', 'full'.

-- A running turn whose job is missing gets one that is due after this time (ms); a worker that lives renews it before.
local LOST_MS = 60000

local session_id, asker, create, kind, title, key, digest, message = unpack(ARGV, 1, 8)
local queue_limit, ttl, on_busy, may_return, parent, is_unknown_model = unpack(ARGV, 9)
-- `message` is JSON without its closing brace: the turn's number is only known here.
-- `may_return`: the id is derived from an Idempotency-Key, so that an expired session of this id may have existed.
-- `parent`: the turn that the message follows, or '' for the one before it in number.
-- `is_unknown_model`: '1' if the message names a model that this server does not have. A repeated request is answered
-- as before all the same, since another server may have accepted it.

-- A refused message has left nothing that could run: see NOBODY in session.lua.

local owner, state, top, turn, known_kind, newest =
  unpack(redis.call('HMGET', META, 'owner', 'state', 'top', 'turn', 'kind', 'last'))
local is_new = not owner and create == '1'
if is_new then
  state, top, newest = 'idle', '0.0-0', '0'
elseif owner ~= asker or (known_kind == 'push') ~= (kind == 'push') then
  -- A one-shot answer must not be continued as a conversation: its event ids are a capability that others may have.
  return { 'missing', 0 }
end
-- Values that cannot be read (unreadable.py).
if state ~= 'idle' and state ~= 'queued' and state ~= 'streaming' then
  state = redis.call('ZSCORE', JOBS, session_id) and 'queued' or 'idle'
end
turn = known_turn(LOG, turn, top)
if not number_of(newest) then
  newest = turn + redis.call('LLEN', QUEUE)
end
-- The first part of the rehearsal. Redis refuses a script because of its memory only at its first write, and only if
-- that is a command that may need memory.
redis.call('ZADD', JOBS, 'XX', 0, NOBODY)
if state ~= 'idle' then
  -- Redis may have lost the job, with an evicted key for example.
  local due = now() + (state == 'queued' and 0 or LOST_MS)
  keep(ttl, { JOBS })
  if redis.call('ZADD', JOBS, 'NX', whole(due), session_id) == 1 then
    keep(ttl, { JOBS })
    publish(WAKE, session_id)
  end
end

local seen = owner and redis.call('HGET', SEEN, key)
if seen then
  local seen_turn, seen_digest = string.match(seen, '^(%d+) (.*)$')
  return { seen_digest == digest and 'ok' or 'mismatch', number_of(seen_turn, 0) }
end
if is_unknown_model == '1' then
  return { 'unknown_model', 0 }
end
if parent ~= '' and tonumber(parent) > tonumber(newest) then
  return { 'unknown', 0 }
end
local waiting = {}
if state ~= 'idle' then
  if on_busy == 'reject' then
    return { 'busy', 0 }
  elseif redis.call('LLEN', QUEUE) >= tonumber(queue_limit) then
    return { 'full', 0 }
  elseif on_busy == 'interrupt' then
    waiting = redis.call('LRANGE', QUEUE, 0, -1)
  end
end

-- The rest of the rehearsal. A session without an owner does not exist for anybody yet.
local missing = keep(ttl)
redis.call('HDEL', SEEN, key)
if waiting[1] then
  redis.call('LSET', QUEUE, 0, waiting[1])
end
if is_new and may_return == '1' and redis.call('HEXISTS', META, 'base') == 0 then
  epoch_base(META)
  redis.call('HSET', META, 'base', base_of_period(ttl))
end
redis.call('HSET', META, 'kind', kind)
keep(ttl, { META })

local number = tonumber(newest) + 1
if parent == '' then
  parent = number - 1
end
message = message .. ',"turn":' .. number .. ',"parent":' .. parent .. '}'
local updated = whole(now())
redis.call('HSET', SEEN, key, number .. ' ' .. digest)
local refused
if is_new then
  refused = begin_turn(session_id, number, message, 'last', number, 'updated', updated, 'owner', asker, 'title', title)
elseif state == 'idle' then
  refused = begin_turn(session_id, number, message, 'last', number, 'updated', updated)
else
  local queued = redis.pcall('RPUSH', QUEUE, queue_item(key, number, '-', message))
  if is_error(queued) then
    refused = queued
  else
    redis.call('HSET', META, 'last', number, 'updated', updated)
    if on_busy == 'interrupt' then
      stop_running(session_id, turn)
      for index, item in ipairs(waiting) do
        stop_waiting(index - 1, item)
      end
    end
    announce_state(top)
  end
end
if refused then
  redis.call('HDEL', SEEN, key)
  return refused
end
keep(ttl, missing)
return { 'ok', number }
