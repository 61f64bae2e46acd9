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
