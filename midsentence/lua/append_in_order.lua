-- The usual append, in front of append.lua: the caller holds the lease and the log ends at `before`. It defines no
-- function, because Redis creates those of a script anew at every call. Anything else is left to write_events.
local keys, argv, call = KEYS, ARGV, redis.call
local held = call('HMGET', keys[1], 'lease', 'top', 'stop', 'mark')
local before, last, mark = argv[3], argv[4], argv[6]
if held[1] == argv[1] and held[2] == before then
  -- Before the events, as in write_events.
  if mark ~= '' then
    call('HSET', keys[1], 'top', last, 'mark', mark)
  elseif last ~= before then
    call('HSET', keys[1], 'top', last)
  end
  for i = 7, #argv, 3 do
    local added = redis.pcall('XADD', keys[2], argv[i], argv[i + 1], argv[i + 2])
    if type(added) == 'table' then
      call('HSET', keys[1], 'top', before, 'mark', held[4] or '')
      return added
    end
  end
  if last ~= before then
    redis.pcall('SPUBLISH', keys[3], argv[5])
  end
  return held[3] == argv[2] and 1 or 0
end
