"""What one worker has to append: kept per turn until the log has it, sent for all turns together."""

import asyncio
import itertools
from collections.abc import Iterable

import structlog

from midsentence.errors import FencedError, LostTailError, StoreUnavailableError
from midsentence.events import Delta, End, Event, Payload, Reasoning
from midsentence.fold import Fold, stored_turn
from midsentence.ids import EventId
from midsentence.log import Lease, SessionLog, Write, Written

_RETRY_SECONDS = 0.2

_logger = structlog.get_logger()


class TurnWriter:
    """The events of one attempt at a turn.

    All of them stay in memory until the turn ends: a network error that may have been too late, or a failover that
    lost the log's tail, is healed by sending them again under their own numbers.
    """

    def __init__(self, lease: Lease, after: int, gathering: "Gathering") -> None:
        """`after`: the number that the log reaches to, of the message or of an earlier attempt."""
        self.lease = lease
        # Resolves with why this attempt must stop: FencedError, LostTailError, or a defect.
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        # Resolves when somebody asked for this turn's end.
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.due = 0.0
        self._after = after
        self._gathering = gathering
        self._events: list[tuple[str, bytes]] = []
        self._written = 0
        # Pieces that came since the last flush; merged before they are numbered, never after.
        self._pending: list[Delta | Reasoning] = []
        self._spoke = False
        self._mark = self._marked = ""
        self._folded: bytes | None = None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, payload: Payload) -> None:
        if isinstance(payload, Delta | Reasoning):
            self._pending.append(payload)
            # The first piece at once: what a person waits for is the beginning.
            self._gathering.schedule(self, now=not self._spoke)
            self._spoke = True
        else:
            self._number_pending()
            self._events.append((payload.type, payload.encoded()))
            self._gathering.schedule(self)

    def reached(self, mark: str) -> None:
        """Note where the model's own stream stands with all that was added so far."""
        self._mark = mark
        self._gathering.schedule(self, now=not self._spoke)

    def stop(self) -> None:
        if not self.stopped.done():
            self.stopped.set_result(None)

    async def end(self, end: End, fold: Fold) -> None:
        """Write the turn's end and what it folds to; returns when the log has it.

        `fold` is the conversation as the log holds it before this attempt's events.
        """
        self._number_pending()
        self._events.append((end.type, end.encoded()))
        for offset, (event_type, data) in enumerate(self._events, start=1):
            fold.apply(Event(EventId(self.lease.turn, self.lease.epoch, self._after + offset), event_type, data))
        self._folded = stored_turn(fold.turn(self.lease.turn))
        self._gathering.schedule(self, now=True)
        await self._done

    def take(self) -> Write:
        """All that the log does not have yet."""
        self._number_pending()
        return Write(
            self.lease, self._after + self._written + 1, self._events[self._written :], self._folded, self._mark
        )

    def settle(self, outcome: Written | Exception, write: Write) -> None:
        """Learn what became of a write."""
        if isinstance(outcome, Written) and outcome.stop:
            self.stop()
        match outcome:
            case Written("ok"):
                self._written += len(write.events)
                self._marked = write.mark
                if self._folded is not None and self._written == len(self._events) and not self._done.done():
                    self._done.set_result(None)
                elif self.has_more:
                    self._gathering.schedule(self)
            case Written("hole", seq) if seq >= self._after:
                _logger.warning("tail_sent_again", session=self.lease.session_id, turn=self.lease.turn, after=seq)
                self._written = seq - self._after
                self._gathering.schedule(self, now=True)
            case Written("hole"):
                self.lose(LostTailError("the log lost events of an earlier attempt"))
            case Written():
                self.lose(FencedError("the turn is another worker's, or gone"))
            case StoreUnavailableError():
                self._gathering.schedule(self, delay=_RETRY_SECONDS)
            case error:
                self.lose(error)

    @property
    def has_more(self) -> bool:
        return bool(self._pending) or self._written < len(self._events) or self._mark != self._marked

    def lose(self, why: Exception) -> None:
        if not self.lost.done():
            self.lost.set_result(why)

    def _number_pending(self) -> None:
        for event_type, pieces in itertools.groupby(self._pending, lambda piece: piece.type):
            text = "".join(piece.text for piece in pieces)
            if text:
                merged = Delta(text) if event_type == Delta.type else Reasoning(text)
                self._events.append((event_type, merged.encoded()))
        self._pending.clear()


class Gathering:
    """Sends the flushes of all turns of this worker in one pipeline: alone, each would cost five times as much."""

    def __init__(self, log: SessionLog, flush_seconds: float) -> None:
        self._log = log
        self._flush = flush_seconds
        self._waiting: dict[TurnWriter, float] = {}
        self._news = asyncio.Event()

    def schedule(self, writer: TurnWriter, *, now: bool = False, delay: float | None = None) -> None:
        """Flush a writer soon: at once when it was quiet, else one flush interval after its last."""
        time = asyncio.get_running_loop().time()
        due = time + delay if delay is not None else (time if now else max(time, writer.due))
        if due < self._waiting.get(writer, float("inf")):
            self._waiting[writer] = due
            self._news.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            now = loop.time()
            ready = [writer for writer, due in self._waiting.items() if due <= now]
            if ready:
                await self._send(ready)
                continue
            until = min(self._waiting.values(), default=None)
            try:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _send(self, writers: Iterable[TurnWriter]) -> None:
        now = asyncio.get_running_loop().time()
        batch: list[tuple[TurnWriter, Write]] = []
        for writer in writers:
            del self._waiting[writer]
            writer.due = now + self._flush
            if writer.has_more:
                batch.append((writer, writer.take()))
        if not batch:
            return
        try:
            outcomes = await self._log.write([write for _, write in batch])
        except StoreUnavailableError as error:
            outcomes = [error] * len(batch)
        for (writer, write), outcome in zip(batch, outcomes, strict=True):
            writer.settle(outcome, write)
