-- All arithmetic of epochs.
--
-- An event id names one content for ever (docs/protocol.md, 1.1), so no epoch of a turn may be given twice. A claim
-- takes the next epoch, but that alone is not enough: a failover, or a restart that lost the last second, can lose a
-- claim and with it the fact that its epoch was given. So a turn's epochs are divided into blocks of ten, and each
-- Redis process that a session meets gives epochs from a block of its own. The first process begins at block 0; each
-- later one at a block from 1 to 40 that its run id selects and that differs from the block before. A turn is rarely
-- claimed ten times under one process; if it is, its epochs run on into the next block. An id derived from an
-- Idempotency-Key can name a new session after the former one expired or was deleted. The new one begins at another
-- block for the same reason.
local BLOCK = 10
local PROCESS_BLOCKS = 40
local BLOCKS = 1 + PROCESS_BLOCKS
-- An epoch has three digits in an event id.
local LAST_EPOCH = 999

-- The run id of this Redis process; INFO is asked at most once in a script.
local run_id

local function block_of_process()
  return 1 + (tonumber(string.sub(run_id, 1, 4), 16) or 0) % PROCESS_BLOCKS
end

-- The first epoch that this Redis process gives in a session. It is stored with the run id in the session's hash.
local function epoch_base(meta)
  if not run_id then
    -- fakeredis has no INFO. It never fails over, so it needs no run id.
    local info = redis.pcall('INFO', 'server')
    run_id = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
  end
  local known = redis.call('HMGET', meta, 'run', 'base')
  local known_run_id, known_base = known[1], number_of(known[2], 0)
  if known_run_id == run_id then
    return known_base
  end
  local base = 0
  if known_run_id then
    local block = block_of_process()
    if block * BLOCK == known_base then
      block = 1 + block % PROCESS_BLOCKS
    end
    base = block * BLOCK
  end
  redis.call('HSET', meta, 'run', run_id, 'base', base)
  return base
end

-- The epoch after `epoch`, which was given under `base_then`.
local function next_epoch(epoch, base_then, base_now)
  if base_then ~= base_now then
    -- Another process gave `epoch`, and perhaps later ones of its block that were lost: skip that block.
    epoch = math.max(base_now, (math.floor(epoch / BLOCK) + 1) * BLOCK)
  end
  return math.min(epoch + 1, LAST_EPOCH)
end

-- Where a session begins whose id may have named an expired one. An expired session was last written at least one
-- time to live (ms) ago, so it began in another period of that length.
local function base_of_period(ttl)
  return BLOCK * (math.floor(now() / ttl) % BLOCKS)
end

-- Where a session begins whose id named a deleted one that had this base: half of all blocks away.
local function base_after_deletion(base)
  return (base + BLOCK * PROCESS_BLOCKS / 2) % (BLOCK * BLOCKS)
end
