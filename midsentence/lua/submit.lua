-- Accepts a user's message: creates the session where asked to, then begins the turn, or queues the message behind
-- the running turn. ARGV as below; replies {'ok', turn} or {why not, turn}: 'missing', 'mismatch', 'unknown', 'busy',
-- 'full'.
local session_id, asker, create, kind, title, key, digest, message, queue_limit, ttl, on_busy, may_return, parent =
  unpack(ARGV)
-- `message` is JSON without its closing brace: the turn's number is only known here.
-- `may_return`: the id is derived from an Idempotency-Key, so that an expired session of this id may have existed.
-- `parent`: the turn that the message follows, or '' for the one before it in number.

local owner, state, top, turn, known_kind, newest =
  unpack(redis.call('HMGET', META, 'owner', 'state', 'top', 'turn', 'kind', 'last'))
if not owner and create == '1' then
  if may_return == '1' and redis.call('HEXISTS', META, 'base') == 0 then
    local base = base_of_period(ttl)
    epoch_base(META)
    redis.call('HSET', META, 'base', base)
  end
  state, top = 'idle', '0.0-0'
  redis.call('HSET', META, 'owner', asker, 'kind', kind, 'title', title)
  redis.call('HSET', META, 'state', state, 'last', 0, 'turn', 0, 'top', top)
elseif owner ~= asker or known_kind ~= kind then
  -- A one-shot answer must not be continued as a conversation: its event ids are a capability that others may have.
  return { 'missing', 0 }
end

local seen = redis.call('HGET', SEEN, key)
if seen then
  local seen_turn, seen_digest = string.match(seen, '^(%d+) (.*)$')
  return { seen_digest == digest and 'ok' or 'mismatch', tonumber(seen_turn) }
end
if parent ~= '' and tonumber(parent) > tonumber(newest) then
  return { 'unknown', 0 }
end
if state ~= 'idle' then
  if on_busy == 'reject' then
    return { 'busy', 0 }
  elseif redis.call('LLEN', QUEUE) >= tonumber(queue_limit) then
    return { 'full', 0 }
  elseif on_busy == 'interrupt' then
    stop_running(session_id, turn)
    for index, item in ipairs(redis.call('LRANGE', QUEUE, 0, -1)) do
      stop_waiting(index - 1, item)
    end
  end
end

local number = redis.call('HINCRBY', META, 'last', 1)
if parent == '' then
  parent = number - 1
end
message = message .. ',"turn":' .. number .. ',"parent":' .. parent .. '}'
redis.call('HSET', SEEN, key, number .. ' ' .. digest)
redis.call('HSET', META, 'updated', whole(now()))
if state == 'idle' then
  begin_turn(session_id, number, message)
else
  redis.call('RPUSH', QUEUE, queue_item(key, number, '-', message))
  announce_state(top)
end
keep(ttl)
return { 'ok', number }
