-- Writes a user's message: starts the session if asked to, then the turn, or lets it wait behind the one that runs.
local session_id, owner, create, kind, title = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key, digest, message, queue_limit, ttl, on_busy = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9]), ARGV[10], ARGV[11]
local may_return = ARGV[12] == '1' -- the id is made of a key, so that it may come again when this session is gone
local parent = ARGV[13] -- the turn that the message follows, or '' for the one before it

local held = redis.call('HMGET', META, 'owner', 'state', 'top', 'turn', 'kind', 'last')
if not held[1] and create == '1' then
  if may_return and redis.call('HEXISTS', META, 'base') == 0 then
    -- A session that expired was written to at least one time to live ago: another period, another ten of epochs.
    local base = 10 * (math.floor(now() / ttl) % 41)
    epoch_base(META)
    redis.call('HSET', META, 'base', base)
  end
  redis.call('HSET', META, 'owner', owner, 'kind', kind, 'title', title, 'state', 'idle', 'last', 0, 'turn', 0, 'top', '0.0-0')
  held = { owner, 'idle', '0.0-0' }
elseif held[1] ~= owner or held[5] ~= kind then
  -- Nor is a one-shot answer a conversation: its events' ids are known to whoever was shown them.
  return { 'missing', 0 }
end

local seen = redis.call('HGET', SEEN, key)
if seen then
  local turn, before = string.match(seen, '^(%d+) (.*)$')
  return { before == digest and 'ok' or 'mismatch', tonumber(turn) }
end
if parent ~= '' and tonumber(parent) > tonumber(held[6]) then
  return { 'unknown', 0 }
end
if held[2] ~= 'idle' then
  if on_busy == 'reject' then
    return { 'busy', 0 }
  elseif redis.call('LLEN', QUEUE) >= queue_limit then
    return { 'full', 0 }
  elseif on_busy == 'interrupt' then
    stop_running(session_id, held[4])
    for index, item in ipairs(redis.call('LRANGE', QUEUE, 0, -1)) do
      stop_waiting(index - 1, item)
    end
  end
end

local turn = redis.call('HINCRBY', META, 'last', 1)
if parent == '' then
  parent = turn - 1
end
message = message .. ',"turn":' .. turn .. ',"parent":' .. parent .. '}'
redis.call('HSET', SEEN, key, turn .. ' ' .. digest)
redis.call('HSET', META, 'updated', whole(now()))
if held[2] == 'idle' then
  begin_turn(session_id, turn, message)
else
  redis.call('RPUSH', QUEUE, key .. '\n' .. turn .. '\n-\n' .. message)
  announce(held[3], held[3], 's', '')
end
keep(ttl)
return { 'ok', turn }
