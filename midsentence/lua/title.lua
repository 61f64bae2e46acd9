-- Replaces a title that was made of the first message. ARGV: that title, the new one. Replies 1, or 0 where the title
-- is another, the owner's, or the session is gone.
local automatic, title = unpack(ARGV)
local held, named, top = unpack(redis.call('HMGET', META, 'title', 'named', 'top'))
if held ~= automatic or named then
  return 0
end
redis.call('HSET', META, 'title', title)
announce_state(top)
return 1
