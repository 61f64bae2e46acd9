-- What every script of a session begins with. KEYS are SessionKeys in their order (keys.py), all of one slot.
local META, LOG, LIVE, TURNS, QUEUE, SEEN, JOBS, TRIMS, WAKE = unpack(KEYS)

-- One message to the readers: "<id before> <id of the last> <flags>\n<frames>". Whoever stands at the id before takes the frames as they
-- are; everybody else reads the log. The flag "s" says that `state` changed.
local function announce(before, last, flags, frames)
  redis.call('SPUBLISH', LIVE, before .. ' ' .. last .. ' ' .. flags .. '\n' .. frames)
end

local function keep(ttl)
  for _, key in ipairs({ META, LOG, TURNS, QUEUE, SEEN, JOBS, TRIMS }) do
    redis.call('PEXPIRE', key, ttl)
  end
end

-- The turn enters the log and waits for a worker.
local function begin_turn(session_id, turn, message)
  local epoch = epoch_base(META)
  local id = turn .. '.' .. epoch .. '-0'
  redis.call('XADD', LOG, whole(turn * 1000 + epoch) .. '-0', 'message', message)
  redis.call('HSET', META, 'state', 'queued', 'turn', turn, 'epoch', epoch, 'epoch_base', epoch, 'top', id, 'attempt', 0)
  redis.call('HDEL', META, 'lease', 'mark')
  redis.call('ZADD', JOBS, whole(now()), session_id)
  redis.call('SPUBLISH', WAKE, session_id)
  announce(id, id, 's', '')
end

-- A message that was stopped while it waited enters the log as a turn that is over.
local function pass_over(turn, message)
  local epoch = epoch_base(META)
  local stream, wire = whole(turn * 1000 + epoch), turn .. '.' .. epoch .. '-'
  redis.call('XADD', LOG, stream .. '-0', 'message', message)
  redis.call('XADD', LOG, stream .. '-1', 'end', '{"reason":"stopped","usage":null,"error":null}')
  redis.call('HSET', META, 'turn', turn, 'epoch', epoch, 'top', wire .. '1', 'ended', stream .. '-1')
  local asked = string.sub(message, 1, -2)
  local parent = string.match(asked, '"parent":(%d+)$')
  local answer = '{"turn":' .. turn .. ',"parent":' .. parent .. ',"role":"assistant","text":"","end":"stopped"}'
  redis.call('HSET', TURNS, turn, '[' .. asked .. ',"end":null},' .. answer .. ']')
  announce(wire .. '1', wire .. '1', 's', '')
end

-- What waits in the queue: "<key>\n<turn>\n<mark>\n<message>", the mark being "stopped" or "-".
local function waiting_parts(item)
  return string.match(item, '^([^\n]*)\n(%d+)\n([^\n]*)\n(.*)$')
end

local function stop_waiting(index, item)
  local key, turn, _, message = waiting_parts(item)
  redis.call('LSET', QUEUE, index, key .. '\n' .. turn .. '\nstopped\n' .. message)
end

-- Durable: whoever runs the turn, now or after a crash, reads this at every append and at every renewal.
local function stop_running(session_id, turn)
  redis.call('HSET', META, 'stop', turn)
  redis.call('SPUBLISH', WAKE, 'stop ' .. session_id)
end
