-- The names of ids.py and lease.py.

-- A turn has this many epochs (ids.py, EPOCHS).
local EPOCHS = 1000

-- The id of an event as readers know it (EventId).
local function event_id(turn, epoch, seq)
  return turn .. '.' .. epoch .. '-' .. seq
end

-- The id of the same event in the stream (EventId.stream_id).
local function stream_id(turn, epoch, seq)
  return string.format('%.0f-%s', turn * EPOCHS + epoch, seq)
end

-- Whether a text has the form of a session's id (is_session_id).
local function is_session_id(text)
  return #text == 24 and string.match(text, '^%x%x[%w_-]+$') ~= nil
end

-- The holder of a lease (Lease.holder). The epoch is part of it, so comparing holders also compares epochs.
local function lease_holder(worker, turn, epoch)
  return worker .. ' ' .. turn .. '.' .. epoch
end

-- Whether this has the form of an event's id (EventId.parse).
local function is_event_id(text)
  local turn, epoch, seq = string.match(text, '^(%d+)%.(%d+)%-(%d+)$')
  return turn and #turn <= 12 and #epoch <= 3 and #seq <= 12 and not string.find(text, '%f[%d]0%d')
end

-- The id of the log's last event, which is `top` of the session's hash, unless something else stands there.
local function known_top(log, top)
  if top and is_event_id(top) then
    return top
  end
  local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if not newest then
    return event_id(0, 0, 0)
  end
  local major, seq = string.match(newest[1], '^(%d+)%-(%d+)$')
  major = tonumber(major)
  local id = event_id(whole(math.floor(major / EPOCHS)), whole(major % EPOCHS), seq)
  return is_event_id(id) and id or event_id(0, 0, 0)
end

-- The number of the newest turn in the log, which is `turn` of the session's hash, unless something else stands there.
-- It is a text, as Redis holds it.
local function known_turn(log, turn, top)
  return whole(number_of(turn) or tonumber(string.match(known_top(log, top), '^%d+')))
end
