-- The circuit breaker of one model (breakers.py). KEYS: its hash, which does not exist while nothing is wrong. ARGV
-- begin with the id of the worker's breakers.
local BREAKER, WORKER = KEYS[1], ARGV[1]

-- Failures in a row count within this time (ms).
local WINDOW = 60000
-- The longest time (ms) for which failed probes open it, and for which a provider may ask.
local LONGEST, LONGEST_ASKED = 60000, 600000
-- A probe is another worker's after this time (ms) without a sign of life.
local PROBE = 5000
-- While one worker probes, the others ask again after this time (ms).
local AGAIN = 1000

local CLOSED, FAILING, OPEN = 0, 1, 2

-- Fields of the hash:
--   times        times (ms) of the last failures in a row, separated by spaces; only while it is closed
--   ends         the time (ms) from which it may be probed; only while it is open
--   wait         for how long (ms) failed probes open it; each doubles this
--   asked        '1' if the provider asked for the time until `ends`
--   probe, until the worker that probes, and the time (ms) until which the others wait for it
--   failure      what failed last, as breakers.py encodes it
local function fields(...)
  return unpack(redis.call('HMGET', BREAKER, ...))
end

-- {state, the time (ms) to wait before it is asked, what failed last}
local function reply(state, wait, failure)
  return { state, math.ceil(wait), failure or '' }
end

-- Sets the time to live (ms). A user without the right to this leaves no key that would stay for ever.
local function keep_breaker(ms)
  local kept = redis.pcall('PEXPIRE', BREAKER, whole(ms))
  if is_error(kept) then
    redis.call('DEL', BREAKER)
    error(kept.err)
  end
end

-- Opens it for `asked` (ms) where the provider asked for a time, else for `wait`.
local function open(time, wait, asked, failure)
  local long = asked or wait
  redis.call('DEL', BREAKER)
  redis.call('HSET', BREAKER, 'ends', whole(time + long), 'wait', whole(wait), 'failure', failure)
  if asked then
    redis.call('HSET', BREAKER, 'asked', 1)
  end
  keep_breaker(long + WINDOW)
  return reply(OPEN, long, failure)
end

-- The state at a time.
local function view(time)
  local times, ends, probed_until, failure = fields('times', 'ends', 'until', 'failure')
  if ends then
    local probed = math.min(tonumber(probed_until or 0) - time, AGAIN)
    return reply(OPEN, math.max(tonumber(ends) - time, probed, 0), failure)
  end
  return reply(times and FAILING or CLOSED, 0)
end
