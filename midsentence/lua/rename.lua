-- Gives a session another title. ARGV: owner, title. Replies 1, or 0 where there is none of this owner: a name written to what
-- expired would be a key that never goes.
local held = redis.call('HMGET', META, 'owner', 'top')
if held[1] ~= ARGV[1] then
  return 0
end
redis.call('HSET', META, 'title', ARGV[2])
announce(held[2], held[2], 's', '')
return 1
