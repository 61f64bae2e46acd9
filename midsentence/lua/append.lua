-- Appends events of the running turn. ARGV: worker, turn, epoch, first, frames, mark, then type and data of each.
return write_events(ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6], '-', 7)
