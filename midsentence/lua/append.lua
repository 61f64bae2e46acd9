-- Appends events of the running turn. ARGV: holder, turn, before, last, message, mark, then id, type and data of each
-- event. See write_events for their meaning and for the reply. append_in_order.lua has replied where nothing was amiss.
return write_events(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], 7)
