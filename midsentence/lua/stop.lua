-- Asks for the end of a turn. ARGV: session id, owner, and the turn, or '' for the running one or else the newest.
-- Replies {'missing', 0}; {'unknown', 0}; {'ended', turn, its folded messages}; {'stopped', turn} for a waiting turn,
-- which will never run; or {'asked', turn} for a running one, whose end the caller observes by asking again.
local session_id, asker, turn = unpack(ARGV)
local owner, newest, top = unpack(redis.call('HMGET', META, 'owner', 'turn', 'top'))
if owner ~= asker then
  return { 'missing', 0 }
end
newest = known_turn(LOG, newest, top)
if turn == '' then
  turn = newest
end
local folded = redis.call('HGET', TURNS, turn)
if folded then
  return { 'ended', tonumber(turn), folded }
end
if turn == newest then
  stop_running(session_id, turn)
  return { 'asked', tonumber(turn) }
end
for index, item in ipairs(redis.call('LRANGE', QUEUE, 0, -1)) do
  local _, waiting_turn = queue_item_parts(item)
  if waiting_turn == turn then
    stop_waiting(index - 1, item)
    announce_state(top)
    return { 'stopped', tonumber(turn) }
  end
end
return { 'unknown', 0 }
