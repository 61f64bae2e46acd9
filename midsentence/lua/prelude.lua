-- What every script of a session begins with. KEYS are SessionKeys in their order (keys.py), all of one slot.
local META, LOG, TURNS, QUEUE, SEEN, JOBS, TRIMS, LIVE, WAKE = unpack(KEYS)

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers as Redis wants them: Lua would write a large one as 1e+15.
local function whole(number)
  return string.format('%.0f', number)
end

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
  local id = turn .. '.0-0'
  redis.call('XADD', LOG, whole(turn * 1000) .. '-0', 'message', message)
  redis.call('HSET', META, 'state', 'queued', 'turn', turn, 'epoch', 0, 'seq', 0, 'top', id, 'attempt', 0)
  redis.call('HDEL', META, 'worker')
  redis.call('ZADD', JOBS, whole(now()), session_id)
  redis.call('SPUBLISH', WAKE, session_id)
  announce(id, id, 's', '')
end

-- Appends the events that stand in ARGV from `at` on as type, data, type, data…; the first of them has the number `first`.
-- Replies "ok", "fenced" (another worker or another turn holds the log), or "hole" with the number that the log reaches to.
local function write_events(worker, turn, epoch, first, frames, flags, at)
  local held = redis.call('HMGET', META, 'turn', 'epoch', 'worker', 'seq', 'top')
  if held[1] ~= turn or held[2] ~= epoch or held[3] ~= worker then
    return { 'fenced', 0 }
  end
  local seq = tonumber(held[4])
  if first > seq + 1 then
    return { 'hole', seq }
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
  return { 'ok', last }
end
