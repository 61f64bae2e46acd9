-- What every script begins with.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers as Redis wants them: Lua would write a large one as 1e+15.
local function whole(number)
  return string.format('%.0f', number)
end

-- Who may write a turn (log.py, Lease). A claim raises the epoch, and a turn that begins has none, so the name of the lease is all
-- there is to compare.
local function lease(worker, turn, epoch)
  return worker .. ' ' .. turn .. '.' .. epoch
end

local run_id

-- Where a session's epochs begin under this Redis process. What a failover took back, or a restart that lost its last
-- second, was numbered by a process that is gone, and must not come again with another content; so every process that a
-- session meets begins at a ten of its own, one of forty. The first begins at 0. A turn is hardly taken over ten times
-- within one process, and may outlive dozens of them: an epoch has three digits.
local function epoch_base(meta)
  if not run_id then
    -- fakeredis has no INFO, and never fails over.
    local info = redis.pcall('INFO', 'server')
    run_id = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
  end
  local known = redis.call('HMGET', meta, 'run', 'base')
  if known[1] == run_id then
    return tonumber(known[2])
  end
  local base = 0
  if known[1] then
    local ten = tonumber(string.sub(run_id, 1, 4), 16) or 0
    base = 10 * (1 + ten % 40)
    if base == tonumber(known[2]) then
      base = 10 * (1 + (ten + 1) % 40)
    end
  end
  redis.call('HSET', meta, 'run', run_id, 'base', base)
  return base
end
