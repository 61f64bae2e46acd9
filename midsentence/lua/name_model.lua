-- Names the model that answers the running turn, where it is another than the claim named. ARGV: holder, model. Replies
-- 1, or 0 where the lease is another worker's.
local holder, model = unpack(ARGV)
local lease, top = unpack(redis.call('HMGET', META, 'lease', 'top'))
if lease ~= holder then
  return 0
end
redis.call('HSET', META, 'model', model)
announce_state(top)
return 1
