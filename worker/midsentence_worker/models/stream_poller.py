"""Wakes those who read providers' streams: at the worker's ticks, and only those whose stream brought something.

A piece that has to wait for the next append needs no work before that. A task that wakes for each piece costs as much
as ten pieces that are decoded together.
"""

import asyncio
from typing import Protocol

from midsentence_worker.ticks import EARLY_SECONDS, Ticks

# So few streams are read as they come: together they cost little, and their readers get each piece some 12 ms earlier.
FEW_STREAMS = 4
# A stream that brought nothing for so many intervals is waited for by itself, so that its next piece is read at once.
_QUIET_INTERVALS = 4


class PolledStream(Protocol):
    @property
    def polled_until(self) -> float:
        """When the stream is waited for by itself, in the time of the event loop."""
        ...

    @property
    def has_news(self) -> bool:
        """Whether the stream has bytes, or has ended or broken."""
        ...


class StreamPoller:
    def __init__(self, ticks: Ticks, loop: asyncio.AbstractEventLoop) -> None:
        # How long after its last bytes a stream is polled.
        self.seconds = ticks.interval * _QUIET_INTERVALS
        # How many streams are to be polled; those who read them count them.
        self.streams = 0
        self._ticks = ticks
        self._loop = loop
        self._waiting: list[tuple[PolledStream, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_worthwhile(self) -> bool:
        """Whether streams are polled at all."""
        return self.streams > FEW_STREAMS

    def wait(self, stream: PolledStream) -> asyncio.Future[None]:
        """Wait for the first tick at which the stream has news or is no longer polled."""
        future = self._loop.create_future()
        self._waiting.append((stream, future))
        if self._timer is None:
            self._set_timer(self._loop.time())
        return future

    def _set_timer(self, after: float) -> None:
        self._timer = self._loop.call_at(self._ticks.after(after), self._poll)

    def _poll(self) -> None:
        now = self._loop.time() + EARLY_SECONDS
        waiting, self._waiting, self._timer = self._waiting, [], None
        for stream, future in waiting:
            if future.done():
                continue  # its reader was cancelled
            if stream.has_news or stream.polled_until <= now:
                future.set_result(None)
            else:
                self._waiting.append((stream, future))
        if self._waiting:
            self._set_timer(now)
