-- What append.lua and finish.lua share. KEYS begin with the session's hash, its log and its channel (keys.py).
local META, LOG, LIVE = KEYS[1], KEYS[2], KEYS[3]

-- The seq of an event's id, that of readers or that of the stream.
local function seq_of(id)
  return tonumber(string.match(id, '%d+$'))
end

-- Appends the events that ARGV holds from index `at` on, as stream id, type, data. `holder` names who may write
-- (lease.py). `before` and `last` are the ids, as readers know them, of the event before the first and of the last
-- event; `message` is the announcement for a log that ends at `before`. `mark` is the position in the provider's
-- stream after these events, '' for no change.
-- Replies 0, or 1 where a stop was asked for. Where the log did not end at `before`: {'fenced', 0, 0} if another
-- worker holds the lease or the turn is over, else {'hole' or 'ok', the seq that the log ends at, whether a stop was
-- asked for}.
local function write_events(holder, turn, before, last, message, mark, at)
  local call = redis.call
  local held = call('HMGET', META, 'lease', 'top', 'stop', 'mark')
  if held[1] ~= holder then
    return { 'fenced', 0, 0 }
  end
  local top, stop, known_mark = held[2], held[3] == turn and 1 or 0, held[4] or ''
  local seq, reply = nil, stop
  if top ~= before then
    seq = seq_of(top)
    local reached = seq_of(before)
    if reached > seq then
      return { 'hole', seq, stop }
    elseif reached == seq then
      -- Another attempt wrote that event, under its own epoch.
      local _, _, flags, frames = announcement_parts(message)
      message = announcement(top, last, flags, frames)
    else
      -- This attempt wrote some of these events before: the request was repeated. Readers have to read the log.
      local _, _, flags = announcement_parts(message)
      message = announcement(last, last, flags, '')
    end
    reply = { 'ok', math.max(seq, seq_of(last)), stop }
  end
  local is_longer = seq and seq_of(last) > seq or not seq and last ~= before
  -- Before the events, so that this is taken back where Redis refuses them: after them, a refusal of this would leave
  -- events in the log that no worker knows.
  call('HSET', META, 'top', is_longer and last or top, 'mark', mark ~= '' and mark or known_mark)
  for i = at, #ARGV, 3 do
    if not seq or seq_of(ARGV[i]) > seq then
      local added = redis.pcall('XADD', LOG, ARGV[i], ARGV[i + 1], ARGV[i + 2])
      if is_error(added) then
        call('HSET', META, 'top', top, 'mark', known_mark)
        return added
      end
    end
  end
  if is_longer then
    redis.pcall('SPUBLISH', LIVE, message)
  end
  return reply
end
