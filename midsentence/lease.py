"""The lease: a worker's right to write one turn.

A claim grants it under an epoch that no earlier claim of the turn had, and the session's hash keeps its `holder`. Every
script that writes a turn compares that text, so another claim fences the former worker. `jobs` grants, renews and
releases leases.
"""

from typing import NamedTuple

from midsentence.ids import EventId


class Lease(NamedTuple):
    session_id: str
    turn: int
    epoch: int
    worker: str

    @property
    def holder(self) -> str:
        """The lease as the session's hash keeps it: `<worker> <turn>.<epoch>` (`lease_holder` in lua/leases.lua)."""
        return f"{self.worker} {self.turn}.{self.epoch}"

    def event_id(self, seq: int) -> EventId:
        """The id that the holder gives to the turn's event number `seq`."""
        return EventId(self.turn, self.epoch, seq)
