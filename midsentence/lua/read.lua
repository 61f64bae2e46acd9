-- One consistent look at a session. ARGV: the cursor as a stream id or '', and how many events a reader may be behind.
-- Replies nil, or {owner, kind, share, state, turn, top, title, model, queue, "tail", events after the cursor}
-- or, where the log does not hold the cursor, {…, "snapshot", finished turns and, under "running", what the running turn folds to so far
-- (fold.lua), the events of the running turn after that, {}}; where the cursor is "window", the last of these has the newest events,
-- newest first.
local held = redis.call('HMGET', META, 'owner', 'kind', 'share', 'state', 'turn', 'top', 'title', 'model')
if not held[1] then
  return nil
end
held[9] = redis.call('LRANGE', QUEUE, 0, -1)
local cursor, limit = ARGV[1], tonumber(ARGV[2])
if cursor ~= '' and cursor ~= 'window' then
  local tail = redis.call('XRANGE', LOG, cursor, '+', 'COUNT', limit + 2)
  if tail[1] and tail[1][1] == cursor and #tail <= limit + 1 then
    table.remove(tail, 1)
    held[10], held[11] = 'tail', tail
    return held
  end
end
held[10], held[11], held[12], held[13] = 'snapshot', redis.call('HGETALL', TURNS), {}, {}
if held[4] ~= 'idle' then
  local folded = redis.call('HGET', META, 'folded')
  held[12] = redis.call('XRANGE', LOG, folded and '(' .. folded or whole(held[5] * 1000) .. '-0', '+')
end
if cursor == 'window' then
  held[13] = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', limit + 1)
end
return held
