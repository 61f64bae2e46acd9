-- Appends the turn's last events, stores its folded messages, and lets the next message begin: all of it or nothing.
-- ARGV: session id, worker, turn, epoch, first, frames, folded messages, ttl, replay window, then type and data of each event.
local session_id, turn, folded, ttl, replay = ARGV[1], ARGV[3], ARGV[7], ARGV[8], tonumber(ARGV[9])
if redis.call('HEXISTS', TURNS, turn) == 1 then
  return { 'ok', 0, 0 } -- the reply to the first try was lost
end
local reply = write_events(ARGV[2], turn, ARGV[4], tonumber(ARGV[5]), ARGV[6], '', 's', 10)
if reply[1] ~= 'ok' then
  return reply
end
redis.call('HSET', TURNS, turn, folded)
redis.call('HSET', META, 'state', 'idle', 'ended', whole(turn * 1000 + ARGV[4]) .. '-' .. whole(reply[2]))
redis.call('HDEL', META, 'worker')
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
