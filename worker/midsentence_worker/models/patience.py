"""How long a provider may be silent. The time in which this process stood still does not count.

After a pause of the process (a suspended machine, SIGSTOP, a blocked event loop) its timers are due before it has read
what came meanwhile. All of its providers would look silent at once, and their circuit breakers would open for every
worker.
"""

import asyncio
from types import TracebackType

# A timer that comes later than this tells that the process stood still.
LATE_SECONDS = 1.0


def stood_still(due: float, now: float) -> bool:
    """Whether a timer that was due then and runs now comes late.

    Callers keep `due` themselves: what uvloop returns for a delay of less than half a millisecond cannot tell it.
    """
    return now - due > LATE_SECONDS


class AwakeTimeout:
    """As `asyncio.timeout`, but a second in which the process stood still counts anew. Raises TimeoutError."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._step = self._due = 0.0
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._alarm.cancel()
        return await self._timeout.__aexit__(kind, error, traceback)

    def _wait(self) -> None:
        self._step = min(self._left, LATE_SECONDS)
        self._due = self._loop.time() + self._step
        self._alarm = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if not stood_still(self._due, now):
            self._left -= self._step
        if self._left > 0:
            self._wait()
        else:
            self._timeout.reschedule(now)
