-- Appends the turn's last events, stores its folded messages, and lets the next message begin: all of it or nothing.
-- ARGV: lease, turn, before, last, message, session id, folded messages, ttl, replay window, then id, type and data of each event (write.lua).
local turn, session_id, folded, ttl, replay = ARGV[2], ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
if redis.call('HEXISTS', TURNS, turn) == 1 then
  return 0 -- the reply to the first try was lost
end
local reply = write_events(ARGV[1], turn, ARGV[3], ARGV[4], ARGV[5], '', 10)
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
  local _, number, mark, message = waiting_parts(waiting)
  if mark ~= 'stopped' then
    begin_turn(session_id, number, message)
    break
  end
  pass_over(number, message)
end
keep(ttl)
return reply
