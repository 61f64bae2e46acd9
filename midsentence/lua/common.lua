-- Milliseconds since 1970 on the clock of this Redis.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether redis.pcall gave an error.
local function is_error(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

-- A number of a session's hash, or `default` where something else stands there: a value that cannot be read must fail
-- no script (unreadable.py).
local function number_of(text, default)
  if text and #text <= 15 and string.find(text, '^%d+$') then
    return tonumber(text)
  end
  return default
end

-- Redis takes no exponents, and Lua writes a large number as 1e+15.
local function whole(number)
  return string.format('%.0f', number)
end
