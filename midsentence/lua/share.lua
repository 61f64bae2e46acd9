-- Lets whoever has a capability read along, or, given none, nobody any more. ARGV: owner, capability or ''. Replies the capability that
-- holds, '' for none, or nothing where there is no such session of this owner. Who asks again is given what was made first: links
-- that were passed on stay good.
local held = redis.call('HMGET', META, 'owner', 'top', 'share')
if held[1] ~= ARGV[1] then
  return nil
end
if held[3] and ARGV[2] ~= '' then
  return held[3]
elseif ARGV[2] ~= '' then
  redis.call('HSET', META, 'share', ARGV[2])
else
  redis.call('HDEL', META, 'share')
end
announce(held[2], held[2], 's', '')
return ARGV[2]
