-- Counts a failure. ARGV: worker, what failed, how many failures open it, for how long (ms), and the time (ms) for
-- which the provider asks, '0' for none. Replies as `reply`.
local failure, limit, wait, asked = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = now()
local times, ends, last_wait, probe = fields('times', 'ends', 'wait', 'probe')
last_wait = last_wait and tonumber(last_wait)
if asked > 0 then
  asked = math.min(asked, LONGEST_ASKED)
  -- A call that was sent before another one opened it must not shorten that.
  if not ends or time + asked > tonumber(ends) or probe == WORKER then
    return open(time, last_wait or wait, asked, failure)
  end
  return view(time)
end
if ends then
  -- Only the probe's failure counts: calls that were sent before it opened may fail until long after.
  if probe ~= WORKER then
    return view(time)
  end
  return open(time, math.max(math.min(last_wait * 2, LONGEST), wait), nil, failure)
end
local recent = {}
for failed_at in string.gmatch(times or '', '%d+') do
  if tonumber(failed_at) > time - WINDOW then
    recent[#recent + 1] = failed_at
  end
end
recent[#recent + 1] = whole(time)
if #recent >= limit then
  return open(time, wait, nil, failure)
end
redis.call('HSET', BREAKER, 'times', table.concat(recent, ' '), 'failure', failure)
keep_breaker(WINDOW)
return view(time)
