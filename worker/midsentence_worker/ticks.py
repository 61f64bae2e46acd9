"""The ticks of a worker: when it reads its streams and appends what they brought, for all of its turns at once."""

import random
from math import floor
from typing import NamedTuple, Self

# uvloop's timers count whole milliseconds, so they may be due up to one too early. What is due so soon is due at once.
EARLY_SECONDS = 0.001

# Where the ticks fall within an interval: random, so that the workers of a log do not all send at the same moment, and
# the same for all parts of a worker, so that what is read at a tick is appended at that tick.
_PHASE = random.random()  # noqa: S311


class Ticks(NamedTuple):
    """Times are the event loop's, in seconds. An interval of 0 means that nothing waits for a tick."""

    interval: float
    offset: float

    @classmethod
    def every(cls, interval: float) -> Self:
        return cls(interval, _PHASE * interval)

    def after(self, time: float, parts: int = 1) -> float:
        """The first tick after `time`, or the first of so many short ticks in each interval."""
        interval = self.interval / parts
        if not interval:
            return time
        tick = self.offset + (floor((time - self.offset) / interval) + 1) * interval
        # Rounding may have given the tick at `time` itself.
        return tick if tick > time else tick + interval
