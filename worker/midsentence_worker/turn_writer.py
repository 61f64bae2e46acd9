"""What one worker has to append: kept per turn until the log has it, sent for all turns together."""

import asyncio
import contextlib
import random

import structlog

from midsentence.errors import FencedError, LostTailError, StoreUnavailableError
from midsentence.events import Delta, End, Payload, Reasoning
from midsentence.fold import Fold, stored_turn
from midsentence.log import Lease, SessionLog, Write, Written

_RETRY_SECONDS = 0.2
# So often the log is given what the turn folds to: whoever attaches has these events to read, and hardly more.
_FOLD_EVENTS = 256
_NEVER = float("inf")
_PIECES = (Delta, Reasoning)

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
        # On the loop's clock: when the flush that it waits for goes, and until when the next one waits for company.
        self.goes = _NEVER
        self.due = 0.0
        # Whether one waits that no further piece could hurry.
        self.waits = False
        self._after = after
        self._gathering = gathering
        self._events: list[tuple[str, bytes]] = []
        self._written = 0
        # Pieces of one kind that came since the last flush; merged before they are numbered, never after.
        self._pieces: list[str] = []
        self._kind: type[Delta | Reasoning] = Delta
        self._spoke = False
        self._mark = self._marked = ""
        self._folded: bytes | None = None
        self._fold = Fold()
        self._folds = 0
        # Anywhere in the first stretch: answers that began together must not all be folded together.
        self._folds_at = random.randrange(_FOLD_EVENTS // 2, _FOLD_EVENTS)  # noqa: S311
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, payload: Payload) -> None:
        if isinstance(payload, _PIECES):
            kind = type(payload)
            if kind is not self._kind:
                self._number_pending()
                self._kind = kind
            self._pieces.append(payload.text)
            # The first piece at once: what a person waits for is the beginning.
            if not self.waits or not self._spoke:
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

    def begin(self, fold: Fold) -> None:
        """`fold` is the conversation as the log holds it before this attempt's events; from now on it is kept here."""
        self._fold = fold

    async def end(self, end: End) -> None:
        """Write the turn's end and what it folds to; returns when the log has it."""
        self._number_pending()
        self._events.append((end.type, end.encoded()))
        self._folded = self._fold_to(len(self._events))
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
                if self._folded is None and self._written >= self._folds_at:
                    self._folds_at = self._written + _FOLD_EVENTS
                    self._gathering.fold(self.lease, self._after + self._written, self._fold_to(self._written))
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

    def _fold_to(self, count: int) -> bytes:
        """The turn as so many of this attempt's events leave it. Each is folded once."""
        self._fold.apply_all(self.lease.turn, self._events[self._folds : count])
        self._folds = count
        return stored_turn(self._fold.turn(self.lease.turn))

    @property
    def has_more(self) -> bool:
        return bool(self._pieces) or self._written < len(self._events) or self._mark != self._marked

    def lose(self, why: Exception) -> None:
        if not self.lost.done():
            self.lost.set_result(why)

    def _number_pending(self) -> None:
        if text := "".join(self._pieces):
            self._events.append((self._kind.type, self._kind(text).encoded()))
        self._pieces.clear()


class Gathering:
    """Sends the flushes of all turns of this worker in one pipeline: alone, each would cost several times as much."""

    def __init__(self, log: SessionLog, flush_seconds: float) -> None:
        self._log = log
        self._flush = flush_seconds
        # Kept, since Python 3.11 asks the system for the process's number whenever it is asked for the loop.
        self._loop = asyncio.get_running_loop()
        # All turns flush at the same moments, one flush interval apart; other workers at others, lest they crowd.
        self._phase = random.random() * flush_seconds  # noqa: S311
        self._waiting: set[TurnWriter] = set()
        self._folding: set[asyncio.Task[None]] = set()
        self._wakes = _NEVER
        self._news = asyncio.Event()

    def schedule(self, writer: TurnWriter, *, now: bool = False, delay: float | None = None) -> None:
        """Flush a writer soon: at once when it was quiet, else at the next moment at which all do."""
        time = self._loop.time()
        goes = time + delay if delay is not None else (time if now else max(time, writer.due))
        if goes < writer.goes:
            writer.goes, writer.waits = goes, delay is None
            self._waiting.add(writer)
            if goes < self._wakes:
                self._news.set()

    def fold(self, lease: Lease, seq: int, messages: bytes) -> None:
        """Keep what a turn folds to so far; where that fails, attaching to it costs more and nothing else."""
        folding = self._loop.create_task(self._keep(lease, seq, messages))
        self._folding.add(folding)
        folding.add_done_callback(self._folding.discard)

    async def _keep(self, lease: Lease, seq: int, messages: bytes) -> None:
        with contextlib.suppress(StoreUnavailableError):
            await self._log.fold(lease, seq, messages)

    async def run(self) -> None:
        while True:
            self._news.clear()
            now = self._loop.time()
            ready = [writer for writer in self._waiting if writer.goes <= now]
            if ready:
                await self._send(ready)
                continue
            self._wakes = min((writer.goes for writer in self._waiting), default=_NEVER)
            try:
                async with asyncio.timeout_at(None if self._wakes == _NEVER else self._wakes):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._wakes = -_NEVER

    async def _send(self, writers: list[TurnWriter]) -> None:
        due = self._next(self._loop.time())
        batch: list[tuple[TurnWriter, Write]] = []
        for writer in writers:
            self._waiting.discard(writer)
            writer.goes, writer.due, writer.waits = _NEVER, due, False
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

    def _next(self, now: float) -> float:
        """The first moment after `now` at which all turns flush."""
        if not self._flush:
            return now
        return now + self._flush - (now - self._phase) % self._flush
