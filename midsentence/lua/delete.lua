-- Forgets a session. ARGV: session id, owner, ttl. Replies 1, or 0 where there is none of this owner. Its worker is fenced
-- at its next append.
if redis.call('HGET', META, 'owner') ~= ARGV[2] then
  return 0
end
local base = epoch_base(META)
redis.call('DEL', META, LOG, TURNS, QUEUE, SEEN)
-- A key that is sent again makes a session of the same name: its epochs must not begin where those of this one did.
redis.call('HSET', META, 'run', run_id, 'base', (base + 200) % 410)
redis.call('PEXPIRE', META, ARGV[3])
redis.call('ZREM', JOBS, ARGV[1])
redis.call('ZREM', TRIMS, ARGV[1])
announce('0.0-0', '0.0-0', 's', '')
return 1
