-- Deletes a session. ARGV: session id, owner, ttl (ms). Replies 1, or 0 where this owner has no such session. The
-- worker of a running turn is fenced at its next append, since the lease is gone.
local session_id, owner, ttl = unpack(ARGV)
if redis.call('HGET', META, 'owner') ~= owner then
  return 0
end
-- The rehearsal: see NOBODY in session.lua. A session whose job alone was removed would never be answered. The first
-- write is none that needs memory, so that a Redis without memory does not refuse the script: it frees some.
redis.call('PEXPIRE', META, ttl)
redis.call('HSET', META, 'owner', owner)
local base = epoch_base(META)
redis.call('ZREM', JOBS, NOBODY)
redis.call('ZREM', TRIMS, NOBODY)
redis.call('DEL', META, LOG, TURNS, QUEUE, SEEN)
-- A repeated Idempotency-Key makes a session of the same id. Its epochs must differ from those of this one.
redis.call('HSET', META, 'run', run_id, 'base', base_after_deletion(base))
redis.call('PEXPIRE', META, ttl)
redis.call('ZREM', JOBS, session_id)
redis.call('ZREM', TRIMS, session_id)
announce_state('0.0-0')
return 1
