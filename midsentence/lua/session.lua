-- What the scripts of one session share. KEYS are SessionKeys in their order (keys.py), all of one slot.
local META, LOG, LIVE, TURNS, QUEUE, SEEN, JOBS, TRIMS, WAKE = unpack(KEYS)

-- Redis keeps what a script wrote before one of its calls fails (redis/redis#12418): the user may lack the right to a
-- command, or to a key, or another program may have made a key of another type. So a script makes each kind of call
-- that it needs once in a way that changes nothing, before its first write. The first write has no such rehearsal, and
-- it is taken back where the second one fails.

-- No session has this id and no hash this field, so removing it changes nothing.
local NOBODY = ''

-- An announcement may be lost without harm, so a user without the right to publish fails no script.
local function publish(channel, message)
  redis.pcall('SPUBLISH', channel, message)
end

local function announce(before, last, flags, frames)
  publish(LIVE, announcement(before, last, flags, frames))
end

-- Tells readers that `state` changed, where `top` is the id of the log's last event.
local function announce_state(top)
  top = known_top(LOG, top)
  announce(top, top, 's', '')
end

-- Renews the time to live of these keys, by default all. Returns those that do not exist.
local function keep(ttl, keys)
  local missing = {}
  for _, key in ipairs(keys or { META, LOG, TURNS, QUEUE, SEEN, JOBS, TRIMS }) do
    if redis.call('PEXPIRE', key, ttl) == 0 then
      missing[#missing + 1] = key
    end
  end
  return missing
end

-- Makes the turn claimable now and wakes a worker.
local function enqueue_job(session_id)
  redis.call('ZADD', JOBS, whole(now()), session_id)
  publish(WAKE, session_id)
end

-- Writes the turn's message to the log and lets the turn wait for a worker. Further fields of the session's hash and
-- their values may follow. Returns the error where the log cannot be written; nothing has changed then. HSET META and
-- ZADD JOBS must have been rehearsed.
local function begin_turn(session_id, turn, message, ...)
  local epoch = epoch_base(META)
  local id = event_id(turn, epoch, 0)
  local added = redis.pcall('XADD', LOG, stream_id(turn, epoch, 0), 'message', message)
  if is_error(added) then
    return added
  end
  local wanted = string.match(message, ',"model":"([^"]*)","turn":%d+,"parent":%d+}$') or ''
  redis.call('HSET', META, 'state', 'queued', 'turn', turn, 'top', id, 'attempt', 0, 'lease', '', 'mark', '')
  redis.call('HSET', META, 'wanted', wanted, 'epoch', epoch, 'epoch_base', epoch, ...)
  enqueue_job(session_id)
  announce_state(id)
end

-- Writes a message that was stopped while it waited to the log, as a turn that has ended.
local function pass_over(turn, message)
  local epoch = epoch_base(META)
  local top = event_id(turn, epoch, 1)
  redis.call('XADD', LOG, stream_id(turn, epoch, 0), 'message', message)
  redis.call('XADD', LOG, stream_id(turn, epoch, 1), 'end', '{"reason":"stopped","usage":null,"error":null}')
  redis.call('HSET', META, 'turn', turn, 'epoch', epoch, 'top', top, 'ended', stream_id(turn, epoch, 1))
  local question = string.sub(message, 1, -2)
  local parent = string.match(question, '"parent":(%d+)$') or turn - 1
  local answer = '{"turn":' .. turn .. ',"parent":' .. parent .. ',"role":"assistant","text":"","end":"stopped"}'
  redis.call('HSET', TURNS, turn, '[' .. question .. ',"end":null},' .. answer .. ']')
  announce_state(top)
end

-- A waiting message in the queue (SessionKeys.queue). The mark is 'stopped' or '-'. Anything else in the queue has no
-- parts and is passed over.
local function queue_item(key, turn, mark, message)
  return key .. '\n' .. turn .. '\n' .. mark .. '\n' .. message
end

local function queue_item_parts(item)
  local key, turn, mark, message = string.match(item, '^([^\n]*)\n(%d+)\n([^\n]*)\n(.*)$')
  if turn and #turn <= 12 then
    return key, turn, mark, message
  end
end

local function stop_waiting(index, item)
  local key, turn, _, message = queue_item_parts(item)
  if key then
    redis.call('LSET', QUEUE, index, queue_item(key, turn, 'stopped', message))
  end
end

-- Stores the stop: each append and each renewal of the turn reads it, also after another worker took the turn over.
local function stop_running(session_id, turn)
  redis.call('HSET', META, 'stop', turn)
  publish(WAKE, STOP .. session_id)
end
