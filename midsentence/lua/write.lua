-- What the two scripts that append share; not more, since Redis builds all of it anew for every append. KEYS begin with the
-- session's hash, its log and its channel (keys.py).
local META, LOG, LIVE = unpack(KEYS)

local function number_of(id)
  return tonumber(string.match(id, '%d+$'))
end

-- Appends the events that stand in ARGV from `at` on as id in the log, type, data. `before` and `last` are the ids, as readers know them, of
-- what stands before the first and of the last; `message` is what readers are told where the log does end at `before`
-- (prelude.lua, announce). `lease` names who may write; `mark` says where the model's own stream stands with these events,
-- '' is no news.
-- Replies 0, or 1 where a stop was asked for; where the worker was wrong about the log, {"fenced"}, the log being another worker's
-- or another turn's, or {"hole" or "ok", the number that the log reaches to, whether a stop was asked for}.
local function write_events(lease, turn, before, last, message, mark, at)
  local call = redis.call
  local held = call('HMGET', META, 'lease', 'top', 'stop')
  if held[1] ~= lease then
    return { 'fenced', 0, 0 }
  end
  local top, stop = held[2], held[3] == turn and 1 or 0
  local seq, reply = nil, stop
  if top ~= before then
    seq = number_of(top)
    local reached = number_of(before)
    if reached > seq then
      return { 'hole', seq, stop }
    elseif reached == seq then
      -- Another attempt wrote it, under its own epoch.
      message = top .. string.sub(message, #before + 1)
    else
      -- What is there already was written by this very attempt: the same request came twice.
      message = last .. ' ' .. last .. string.match(message, '^%S+ %S+( %S+\n)')
    end
    reply = { 'ok', math.max(seq, number_of(last)), stop }
  end
  if mark ~= '' then
    call('HSET', META, 'mark', mark)
  end
  for i = at, #ARGV, 3 do
    if not seq or number_of(ARGV[i]) > seq then
      call('XADD', LOG, ARGV[i], ARGV[i + 1], ARGV[i + 2])
    end
  end
  if seq and number_of(last) > seq or not seq and last ~= before then
    call('HSET', META, 'top', last)
    call('SPUBLISH', LIVE, message)
  end
  return reply
end
