"""When the events of a worker's turns are sent to the log: for all turns together, in one pipeline."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from midsentence.errors import StoreUnavailableError
from midsentence.lease import Lease
from midsentence.log import SessionLog, Write, Written
from midsentence_worker.ticks import EARLY_SECONDS, Ticks

# A server is sent another batch while it works on the one before. Its round trip then costs no throughput; with more
# batches in flight, each would carry fewer appends and so cost more.
_IN_FLIGHT = 2

# Short ticks in an interval. A pipeline costs Redis as much as several appends. Pieces that were not read at a tick, as
# those of a model that writes seldom, would each be a pipeline of their own.
_SHORT_TICKS = 5

_NEVER = float("inf")
_CANCELLED = -_NEVER


class Flush:
    """When a writer is flushed. Each writer has one; only the batcher changes it. Times are the event loop's."""

    __slots__ = ("at", "is_busy", "is_scheduled", "next_tick")

    def __init__(self) -> None:
        self.at = _NEVER
        # The first tick after the writer's last flush. Until then its pieces wait for that tick.
        self.next_tick = 0.0
        # True while a flush is scheduled that another piece cannot bring forward: any but a retry.
        self.is_scheduled = False
        # True from when a flush is due until the log has answered. The writer is not flushed again meanwhile, so no two
        # writes of a turn are in flight, and what its model brings waits in the writer.
        self.is_busy = False


class Writer(Protocol):
    """One turn's writer, as the batcher uses it (`turn_writer.TurnWriter`)."""

    @property
    def flush(self) -> Flush: ...

    @property
    def lease(self) -> Lease: ...

    @property
    def has_unwritten(self) -> bool: ...

    def unwritten(self) -> Write:
        """All that the log does not have yet."""
        ...

    def acknowledge(self, write: Write, outcome: Written | Exception) -> None:
        """Take the log's reply to a write that `unwritten` returned."""
        ...


class _Lane:
    """One server: how many batches it has not answered yet, and the writers whose flush is due meanwhile."""

    __slots__ = ("in_flight", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting: list[Writer] = []


class AppendBatcher:
    """Flushes the writers of all turns of a worker, in one pipeline to each server of the log.

    One for each turn would cost several times more. Servers do not wait for each other: while one stalls, the turns
    of the others go on.

    The first piece of a writer is flushed at once. So is one that comes after the first tick since its last flush, or
    at the next short tick if others were flushed since the last one. Other pieces wait for the next tick. All writers
    share the ticks, and the models read their streams at them, so that one pipeline carries what many turns append.
    """

    def __init__(self, log: SessionLog, flush_seconds: float) -> None:
        self._log = log
        self._ticks = Ticks.every(flush_seconds)
        # Kept, since Python 3.11 makes a system call (getpid) whenever it is asked for the running loop.
        self._loop = asyncio.get_running_loop()
        # Writers in flight are not in it.
        self._scheduled: set[Writer] = set()
        # The first short tick after the last flush of any writer.
        self._next_short_tick = 0.0
        # By the server as the log names it; only those that have something to do.
        self._lanes: dict[object, _Lane] = {}
        self._batches: set[asyncio.Task[None]] = set()
        # The one timer, and when it is due: at the earliest flush that is scheduled.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        # The tick of the last flush, which may have been early for it.
        self._last_tick = 0.0
        self._checkpoints: set[asyncio.Task[None]] = set()

    def schedule(self, writer: Writer, *, now: bool = False, delay: float | None = None) -> None:
        """Flush a writer: `now`, or after a `delay`, or else as its ticks allow (see the class).

        A flush that is scheduled earlier stays.
        """
        time = self._loop.time()
        flush = writer.flush
        if now:
            at = time
        elif delay is not None:
            at = time + delay
        else:
            at = max(time, flush.next_tick, self._next_short_tick)
        if at < flush.at:
            flush.at, flush.is_scheduled = at, delay is None
            if not flush.is_busy:
                self._await_flush(writer)

    def cancel(self, writer: Writer) -> None:
        """Do not flush a writer again, whatever it schedules."""
        self._scheduled.discard(writer)
        writer.flush.at = _CANCELLED

    def checkpoint(self, lease: Lease, seq: int, folded: bytes) -> None:
        """Store what a turn folds to so far, in the background.

        Where that fails, attaching to the turn costs more and nothing else changes.
        """
        task = self._loop.create_task(self._store(lease, seq, folded))
        self._checkpoints.add(task)
        task.add_done_callback(self._checkpoints.discard)

    async def _store(self, lease: Lease, seq: int, folded: bytes) -> None:
        with contextlib.suppress(StoreUnavailableError):
            await self._log.fold(lease, seq, folded)

    async def run(self) -> None:
        """Flush writers when they are due, until cancelled."""
        try:
            await self._loop.create_future()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for task in self._batches:
                task.cancel()
            await asyncio.gather(*self._batches, return_exceptions=True)

    def _await_flush(self, writer: Writer) -> None:
        self._scheduled.add(writer)
        at = writer.flush.at
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_at(at, self._flush_due)

    def _flush_due(self) -> None:
        self._timer, self._timer_at, self._last_tick = None, _NEVER, self._timer_at
        now = self._loop.time() + EARLY_SECONDS
        due = [writer for writer in self._scheduled if writer.flush.at <= now]
        self._scheduled.difference_update(due)
        servers = self._log.servers([writer.lease for writer in due])
        for writer, server in zip(due, servers, strict=True):
            writer.flush.is_busy = True
            lane = self._lanes.get(server)
            if lane is None:
                lane = self._lanes[server] = _Lane()
            lane.waiting.append(writer)
        for server in set(servers):
            self._send(server)
        if self._scheduled:
            self._await_flush(min(self._scheduled, key=_due))

    def _send(self, server: object) -> None:
        """Send what waits for a server in one batch, or leave it waiting until the server answers another batch."""
        lane = self._lanes[server]
        if lane.in_flight < _IN_FLIGHT and (batch := self._batch(lane)):
            lane.in_flight += 1
            task = self._loop.create_task(self._write(server, batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
        elif not lane.in_flight:
            del self._lanes[server]

    def _batch(self, lane: _Lane) -> list[tuple[Writer, Write]]:
        waiting, lane.waiting = lane.waiting, []
        now = self._loop.time()
        next_tick = self._next_tick(now)
        self._next_short_tick = self._next_tick(now, _SHORT_TICKS)
        batch: list[tuple[Writer, Write]] = []
        for writer in waiting:
            flush = writer.flush
            if flush.at == _CANCELLED or not writer.has_unwritten:
                flush.is_busy = False
            else:
                batch.append((writer, writer.unwritten()))
            if flush.at != _CANCELLED:
                flush.at, flush.next_tick, flush.is_scheduled = _NEVER, next_tick, False
        return batch

    async def _write(self, server: object, batch: Sequence[tuple[Writer, Write]]) -> None:
        outcomes: Sequence[Written | Exception]
        try:
            outcomes = await self._log.write([write for _, write in batch])
        except Exception as error:  # noqa: BLE001 - the writers distinguish an outage from a defect
            # Without its traceback, which holds this frame: `outcomes` would hold the error, the error the frame, and
            # the frame `outcomes` and all writers.
            outcomes = [error.with_traceback(None)] * len(batch)
        self._lanes[server].in_flight -= 1
        for (writer, write), outcome in zip(batch, outcomes, strict=True):
            flush = writer.flush
            flush.is_busy = False
            writer.acknowledge(write, outcome)
            if flush.at not in (_NEVER, _CANCELLED):
                self._await_flush(writer)
        self._send(server)

    def _next_tick(self, now: float, parts: int = 1) -> float:
        """The first tick after `now` and after the last flush, or the first of so many short ticks in each interval."""
        # What comes between a flush that was early and its tick waits for the next one, or would be a pipeline alone.
        return self._ticks.after(max(now, self._last_tick + EARLY_SECONDS), parts)


def _due(writer: Writer) -> float:
    return writer.flush.at
