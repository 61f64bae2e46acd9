"""How much of its core a worker uses, and so how many more turns it can carry. Pure; the worker takes the samples."""

from math import exp

# Above this share of a core, streams begin to wait for each other.
_FULL = 0.9
# A worker that was full claims again only below this, so that it does not alternate.
_NOT_FULL = 0.75
# An event loop that is so late is overloaded, also where other processes keep it from its core. In seconds.
_LATE = 0.1
# Below this share, what a turn costs cannot be told from what an idle worker costs.
_MEASURABLE = 0.25
# Samples count for about so many seconds.
_MEMORY_SECONDS = 1.0


class LoadMeter:
    def __init__(self) -> None:
        # The share of the time in which the thread ran, and the seconds by which timers were late: moving averages.
        self.busy = 0.0
        self.late = 0.0
        self.is_overloaded = False

    def sample(self, elapsed: float, cpu: float, late: float) -> None:
        """Take the figures of the last `elapsed` seconds: the thread's CPU time, and how late this sample is."""
        weight = 1 - exp(-elapsed / _MEMORY_SECONDS)
        self.busy += weight * (min(1.0, cpu / elapsed) - self.busy)
        self.late += weight * (late - self.late)
        if self.busy >= _FULL or self.late >= _LATE:
            self.is_overloaded = True
        elif self.busy <= _NOT_FULL and self.late <= _LATE / 2:
            self.is_overloaded = False

    def room(self, running: int) -> int | None:
        """How many more turns this worker can carry, if they cost what the running ones do. None: no limit is known.

        A worker without turns always has room: whatever keeps it busy, it is not turns.
        """
        if not running:
            return None
        if self.is_overloaded:
            return 0
        if self.busy < _MEASURABLE:
            return None
        return max(1, int(running * (_FULL / self.busy - 1)))
