-- Sets a session's title. ARGV: owner, title. Replies 1, or 0 where this owner has no such session: writing to an
-- expired session would make a key without a time to live.
local asker, title = unpack(ARGV)
local owner, top = unpack(redis.call('HMGET', META, 'owner', 'top'))
if owner ~= asker then
  return 0
end
-- `named`: no model's title replaces this one, even if the owner chose the words of the automatic one.
redis.call('HSET', META, 'title', title, 'named', 1)
announce_state(top)
return 1
