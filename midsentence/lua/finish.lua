-- Appends the turn's last events, stores its folded messages and begins the next waiting turn, all of it or nothing.
-- ARGV: holder, turn, before, last, message, session id, folded messages, ttl (ms), replay window (ms), then id, type
-- and data of each event. See write_events for their meaning and for the reply.
local holder, turn, before, last, message, session_id, folded, ttl, replay = unpack(ARGV, 1, 9)
if redis.call('HEXISTS', TURNS, turn) == 1 then
  return 0 -- the reply to the first attempt of this request was lost
end
local reply = write_events(holder, turn, before, last, message, '', 10)
if type(reply) == 'table' and reply[1] ~= 'ok' then
  return reply
end

-- The rehearsal: see NOBODY in session.lua.
if type(reply) == 'table' then
  -- The log may have had all events above, so that XADD was not called. With the right to it, this id is refused.
  local tried = redis.pcall('XADD', LOG, '0-0', 'end', '')
  if not string.find(tostring(tried.err), 'greater than 0-0', 1, true) then
    return tried
  end
end
local trim_at = whole(now() + replay)
keep(ttl)
redis.call('HDEL', META, NOBODY)
redis.call('HDEL', TURNS, NOBODY)
redis.call('ZREM', JOBS, NOBODY)
redis.call('ZADD', JOBS, 'XX', 0, NOBODY)
redis.call('ZADD', TRIMS, 'XX', 0, NOBODY)
redis.call('LPOP', QUEUE, 0)

redis.call('HSET', TURNS, turn, folded)
redis.call('HSET', META, 'state', 'idle', 'ended', ARGV[#ARGV - 2])
redis.call('HDEL', META, 'lease', 'folded')
redis.call('HDEL', TURNS, 'running')
redis.call('ZREM', JOBS, session_id)
redis.call('ZADD', TRIMS, trim_at, session_id)
while true do
  local waiting = redis.call('LPOP', QUEUE)
  if not waiting then
    break
  end
  local _, next_turn, mark, next_message = queue_item_parts(waiting)
  -- What cannot be a message of a later turn is dropped: nothing can be written behind this turn in its name.
  local is_later = mark and tonumber(next_turn) > tonumber(turn)
  turn = is_later and next_turn or turn
  if is_later and mark == '-' then
    begin_turn(session_id, next_turn, next_message)
    break
  elseif is_later then
    pass_over(next_turn, next_message)
  end
end
keep(ttl) -- again: removing the only job removed its key
return reply
