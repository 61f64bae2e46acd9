"""The worker process: claims turns, asks the model, appends its answer to the log. It serves no HTTP.

`worker.Worker` claims turns and renews their leases, `turn.Turn` runs one, `turn_writer.TurnWriter` numbers its events
and `append_batcher.AppendBatcher` sends them. `models` says how a provider's stream is parsed.

What fences a worker: each write names the holder of its lease, which is the worker, the turn and the epoch. A claim
gives the turn a new epoch and replaces the lease, and the script of a write (midsentence/lua/write.lua) refuses every
other holder. So a worker that was paused or cut off for longer than its lease can write nothing more. It learns this
from the reply `fenced` (`TurnWriter.acknowledge`) or from a renewal (`Worker._renew`): either resolves
`TurnWriter.lost`, and `Turn.run` cancels the upstream call.
"""
