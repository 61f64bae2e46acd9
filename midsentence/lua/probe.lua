-- Makes each kind of call that the other scripts make, on keys of a session that nobody has and on the partition's own,
-- where it changes nothing (store/inspection.py). KEYS are SessionKeys. ARGV: session id, ttl (ms).
-- The scratch keys are removed in the same step.
-- Replies a list of {command, error} for the calls that failed.
local META, LOG, LIVE, TURNS, QUEUE, SEEN, JOBS, TRIMS, WAKE = unpack(KEYS)
local session_id, ttl = unpack(ARGV)
local failed = {}

local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if is_error(reply) then
    failed[#failed + 1] = { command, tostring(reply.err) }
  end
end

-- First what removes the keys of this script: without these rights it makes none.
try('PEXPIRE', META, ttl)
try('PEXPIRE', LOG, ttl)
try('PEXPIRE', TURNS, ttl)
try('PEXPIRE', QUEUE, ttl)
try('PEXPIRE', SEEN, ttl)
try('DEL', META, LOG, TURNS, QUEUE, SEEN)
if #failed > 0 then
  return failed
end
try('TIME')
for _, key in ipairs({ META, TURNS, SEEN }) do
  try('HSET', key, 'a', '1')
  try('HGET', key, 'a')
  try('HMGET', key, 'a')
  try('HGETALL', key)
  try('HEXISTS', key, 'a')
  try('HDEL', key, 'b')
end
try('XADD', LOG, '1-1', 'a', '1')
try('XRANGE', LOG, '-', '+')
try('XREVRANGE', LOG, '+', '-')
try('XTRIM', LOG, 'MINID', '1-1')
try('RPUSH', QUEUE, 'a')
try('LLEN', QUEUE)
try('LRANGE', QUEUE, 0, -1)
try('LSET', QUEUE, 0, 'a')
try('LPOP', QUEUE)
for _, key in ipairs({ JOBS, TRIMS }) do
  try('PEXPIRE', key, ttl)
  try('ZADD', key, 'XX', 0, '')
  try('ZREM', key, '')
  try('ZSCORE', key, '')
  try('ZRANGEBYSCORE', key, '-inf', '(0', 'LIMIT', 0, 1)
end
try('SPUBLISH', LIVE, '')
try('SPUBLISH', WAKE, session_id)
try('DEL', META, LOG, TURNS, QUEUE, SEEN)
return failed
