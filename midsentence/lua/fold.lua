-- Stores a checkpoint: the messages that the running turn folds to up to one of its events. A read starts from it.
-- ARGV: holder, the event's stream id, folded messages, ttl (ms). Replies 1, or 0 where the lease is another worker's
-- or a failover lost the event.
local holder, event, folded, ttl = unpack(ARGV)
if redis.call('HGET', META, 'lease') ~= holder or not redis.call('XRANGE', LOG, event, event)[1] then
  return 0
end
-- The rehearsal: see NOBODY in session.lua. A reader of one field without the other would see a wrong text.
redis.call('HSET', META, 'lease', holder)
redis.call('PEXPIRE', TURNS, ttl)
redis.call('HSET', TURNS, 'running', folded)
redis.call('HSET', META, 'folded', event)
redis.call('PEXPIRE', TURNS, ttl)
return 1
