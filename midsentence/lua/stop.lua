-- Asks for the end of a turn. ARGV: session id, owner, turn or '' for the one that runs, else the newest.
-- Replies {"missing"}, {"unknown"}, {"ended", turn, its folded messages}, {"stopped", turn} for one that waits and never
-- runs, or {"asked", turn} for one that runs: its end is observed by asking again.
local session_id, turn = ARGV[1], ARGV[3]
local held = redis.call('HMGET', META, 'owner', 'state', 'turn', 'top')
if held[1] ~= ARGV[2] then
  return { 'missing', 0 }
end
if turn == '' then
  turn = held[3]
end
local folded = redis.call('HGET', TURNS, turn)
if folded then
  return { 'ended', tonumber(turn), folded }
end
if turn == held[3] then
  stop_running(session_id, turn)
  return { 'asked', tonumber(turn) }
end
for index, item in ipairs(redis.call('LRANGE', QUEUE, 0, -1)) do
  local _, number = waiting_parts(item)
  if number == turn then
    stop_waiting(index - 1, item)
    announce(held[4], held[4], 's', '')
    return { 'stopped', tonumber(turn) }
  end
end
return { 'unknown', 0 }
