-- What every script of a session begins with. KEYS are SessionKeys in their order (keys.py), all of one slot.
local META, LOG, TURNS, QUEUE, SEEN, JOBS, TRIMS, LIVE, WAKE = unpack(KEYS)

-- One message to the readers: "<id before> <id of the last> <flags>\n<frames>". Whoever stands at the id before takes the frames as they
-- are; everybody else reads the log. The flag "s" says that `state` changed.
local function announce(before, last, flags, frames)
  redis.call('SPUBLISH', LIVE, before .. ' ' .. last .. ' ' .. flags .. '\n' .. frames)
end

local function keep(ttl)
  for i = 1, 7 do
    redis.call('PEXPIRE', KEYS[i], ttl)
  end
end

-- The turn enters the log and waits for a worker.
local function begin_turn(session_id, turn, message)
  local epoch = epoch_base(META)
  local id = turn .. '.' .. epoch .. '-0'
  redis.call('XADD', LOG, whole(turn * 1000 + epoch) .. '-0', 'message', message)
  redis.call('HSET', META, 'state', 'queued', 'turn', turn, 'epoch', epoch, 'epoch_base', epoch, 'seq', 0, 'top', id, 'attempt', 0)
  redis.call('HDEL', META, 'worker', 'mark')
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
  redis.call('HSET', META, 'turn', turn, 'epoch', epoch, 'seq', 1, 'top', wire .. '1', 'ended', stream .. '-1')
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

-- Appends the events that stand in ARGV from `at` on as type, data, type, data…; the first of them has the number `first`.
-- Replies "ok", "fenced" (another worker or another turn holds the log), or "hole", with the number that the log reaches
-- to, and whether a stop was asked for. `mark` says where the model's own stream stands with these events; '' is no news.
local function write_events(worker, turn, epoch, first, frames, mark, flags, at)
  local held = redis.call('HMGET', META, 'turn', 'epoch', 'worker', 'seq', 'top', 'stop')
  if held[1] ~= turn or held[2] ~= epoch or held[3] ~= worker then
    return { 'fenced', 0, 0 }
  end
  local seq = tonumber(held[4])
  local stop = held[6] == turn and 1 or 0
  if first > seq + 1 then
    return { 'hole', seq, stop }
  end
  if mark ~= '' then
    redis.call('HSET', META, 'mark', mark)
  end
  local stream = whole(turn * 1000 + epoch) .. '-'
  local last = seq
  for i = at, #ARGV, 2 do
    local number = first + (i - at) / 2
    -- What is there already was written by this very attempt: the same request came twice.
    if number > seq then
      redis.call('XADD', LOG, stream .. whole(number), ARGV[i], ARGV[i + 1])
      last = number
    end
  end
  if last > seq then
    local top = turn .. '.' .. epoch .. '-' .. whole(last)
    redis.call('HSET', META, 'seq', whole(last), 'top', top)
    if first == seq + 1 then
      announce(held[5], top, flags, frames)
    else
      announce(top, top, flags, '')
    end
  end
  return { 'ok', last, stop }
end
