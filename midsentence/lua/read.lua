-- Reads a session at one moment. ARGV: the cursor as a stream id, or 'window', or ''; and by how many events a reader
-- may be behind. Replies nil, or {owner, kind, share, state, turn, top, title, model, queue} followed by either
--   'tail', the events after the cursor                                    where the log holds exactly that cursor; or
--   'snapshot', the stored turns and, under 'running', the checkpoint of the running turn (fold.lua), the events of the
--   running turn after the checkpoint, and for the cursor 'window' the newest events, newest first, else {}.
local cursor, limit = ARGV[1], tonumber(ARGV[2])
local view = redis.call('HMGET', META, 'owner', 'kind', 'share', 'state', 'turn', 'top', 'title', 'model')
local owner, state, turn = view[1], view[4], view[5]
if not owner then
  return nil
end
view[6] = known_top(LOG, view[6])
view[9] = redis.call('LRANGE', QUEUE, 0, -1)
if cursor ~= '' and cursor ~= 'window' then
  local tail = redis.call('XRANGE', LOG, cursor, '+', 'COUNT', limit + 2)
  if tail[1] and tail[1][1] == cursor and #tail <= limit + 1 then
    table.remove(tail, 1)
    view[10], view[11] = 'tail', tail
    return view
  end
end
view[10], view[11], view[12], view[13] = 'snapshot', redis.call('HGETALL', TURNS), {}, {}
if state ~= 'idle' then
  local folded = redis.call('HGET', META, 'folded')
  if not (folded and string.find(folded, '^%d+%-%d+$')) then
    folded = false
    -- Without its place in the log, a checkpoint would be read twice.
    for index = #view[11] - 1, 1, -2 do
      if view[11][index] == 'running' then
        table.remove(view[11], index)
        table.remove(view[11], index)
      end
    end
  end
  local first = stream_id(known_turn(LOG, turn, view[6]), 0, 0)
  view[12] = redis.call('XRANGE', LOG, folded and '(' .. folded or first, '+')
end
if cursor == 'window' then
  view[13] = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', limit + 1)
end
return view
