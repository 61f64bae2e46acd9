-- The formats of announcements.py.

-- A wake-up is a session's id. This prefix makes it a request to stop the running turn.
local STOP = 'stop '

local function announcement(before, last, flags, frames)
  return before .. ' ' .. last .. ' ' .. flags .. '\n' .. frames
end

-- The parts of an announcement: before, last, flags, frames.
local function announcement_parts(message)
  return string.match(message, '^(%S+) (%S+) (%S+)\n(.*)$')
end
