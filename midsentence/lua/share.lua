-- Sets or removes the capability to read a session. ARGV: owner, a new capability, or '' to remove it. Replies the
-- capability that now holds, '' for none, or nil where this owner has no such session. An existing capability is
-- kept, so that links that were passed on stay valid.
local asker, new = unpack(ARGV)
local owner, top, share = unpack(redis.call('HMGET', META, 'owner', 'top', 'share'))
if owner ~= asker then
  return nil
end
-- What is no capability cannot have been passed on.
if share and new ~= '' and string.find(share, '^[%w_-]+$') then
  return share
elseif new ~= '' then
  redis.call('HSET', META, 'share', new)
else
  redis.call('HDEL', META, 'share')
end
announce_state(top)
return new
