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
redis.call('HSET', TURNS, turn, folded)
redis.call('HSET', META, 'state', 'idle', 'ended', ARGV[#ARGV - 2])
redis.call('HDEL', META, 'lease', 'folded')
redis.call('HDEL', TURNS, 'running')
redis.call('ZREM', JOBS, session_id)
redis.call('ZADD', TRIMS, whole(now() + replay), session_id)
while true do
  local waiting = redis.call('LPOP', QUEUE)
  if not waiting then
    break
  end
  local _, next_turn, mark, next_message = queue_item_parts(waiting)
  if mark ~= 'stopped' then
    begin_turn(session_id, next_turn, next_message)
    break
  end
  pass_over(next_turn, next_message)
end
keep(ttl)
return reply
