"""The events of one attempt at a turn: numbered, kept until the turn ends, and sent again where the log lost them."""

import asyncio
import random

import structlog

from midsentence.errors import FencedError, LostTailError, StoreUnavailableError
from midsentence.events import Delta, End, Entry, Payload, Reasoning
from midsentence.fold import Fold, stored_turn
from midsentence.lease import Lease
from midsentence.log import Write, Written
from midsentence_worker.append_batcher import AppendBatcher, Flush
from midsentence_worker.models import surrogates

_RETRY_SECONDS = 0.2
# After so many events the log is given what the turn folds to. A reader that attaches reads hardly more events than
# these.
_CHECKPOINT_EVENTS = 256
# So much text of a turn may wait for the log. While it is exceeded, nothing is read from the provider, so its socket
# fills up and the provider waits: a Redis that stalls does not fill the worker's memory.
BACKLOG_CHARACTERS = 2**18

_logger = structlog.get_logger()


class TurnWriter:
    """The events of one attempt at a turn.

    All of them stay in memory until the turn ends. A network error may leave open whether a write reached the log,
    and a failover may lose the log's tail: both are repaired by sending the events again under the same numbers.
    """

    def __init__(self, lease: Lease, after: int, batcher: AppendBatcher) -> None:
        """`after` is the number of the log's last event, which is the message's or an earlier attempt's."""
        self.lease = lease
        # Resolves with the reason why this attempt must end: FencedError, LostTailError, or a defect.
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        # Resolves when the turn was asked to stop.
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.flush = Flush()
        self._after = after
        self._batcher = batcher
        self._events: list[tuple[str, bytes]] = []
        self._written = 0
        # Pieces of one kind that came since the last flush. They are merged into one event, which then gets its number.
        self._pieces: list[str] = []
        self._kind: type[Delta | Reasoning] = Delta
        self._has_begun = False
        # Characters of all pieces so far: those that were added, those in the last write, and those that the log has.
        self._added = self._sent = self._stored = 0
        # Resolves when the backlog is small again; None while nobody waits for that.
        self._drained: asyncio.Future[None] | None = None
        self._mark = self._written_mark = ""
        # What the finished turn folds to; set by `end`.
        self._folded: bytes | None = None
        self._fold = Fold()
        # How many of the events are in the fold.
        self._fold_count = 0
        # Random, so that turns that started together do not checkpoint together.
        self._checkpoint_at = random.randrange(_CHECKPOINT_EVENTS // 2, _CHECKPOINT_EVENTS)  # noqa: S311
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, fold: Fold) -> None:
        """`fold` is the conversation without this attempt's events. From now on the writer owns and changes it."""
        self._fold = fold

    def add(self, payload: Payload) -> None:
        # For each piece, so the types are compared without a call of isinstance.
        if type(payload) is Delta or type(payload) is Reasoning:
            kind = type(payload)
            if kind is not self._kind:
                self._number_pieces()
                self._kind = kind
            self._pieces.append(payload.text)
            self._added += len(payload.text)
            # The first piece is flushed now: the reader waits for it in front of an empty answer.
            if not self.flush.is_scheduled or not self._has_begun:
                self._batcher.schedule(self, now=not self._has_begun)
                self._has_begun = True
        else:
            self._number_pieces()
            self._events.append((payload.type, payload.encoded()))
            self._batcher.schedule(self)

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the log that the model should wait too."""
        return self._added - self._stored > BACKLOG_CHARACTERS

    async def drain(self) -> None:
        """Wait until the log has stored the most of what waits for it."""
        self._drained = asyncio.get_running_loop().create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    def reached(self, mark: str) -> None:
        """Note the position in the model's own stream that all added pieces reach to."""
        self._mark = mark
        self._batcher.schedule(self, now=not self._has_begun)

    async def end(self, end: End) -> None:
        """Write the turn's end and what the turn folds to; returns when the log has them."""
        self._number_pieces()
        self._events.append((end.type, end.encoded()))
        self._folded = self._fold_to(len(self._events))
        self._batcher.schedule(self, now=True)
        await self._done

    def messages(self) -> list[Entry]:
        """The conversation with the events that are folded, after `end` all of them. Callers must not change it."""
        return self._fold.messages()

    def close(self) -> None:
        """Write nothing more: the turn has ended, or its lease is not this worker's any more."""
        self._batcher.cancel(self)

    def stop(self) -> None:
        if not self.stopped.done():
            self.stopped.set_result(None)

    def lose(self, why: Exception) -> None:
        if not self.lost.done():
            self.lost.set_result(why)

    @property
    def has_unwritten(self) -> bool:
        return bool(self._pieces) or self._written < len(self._events) or self._mark != self._written_mark

    def unwritten(self) -> Write:
        """All that the log does not have yet."""
        self._number_pieces()
        self._sent = self._added
        return Write(
            self.lease, self._after + self._written + 1, self._events[self._written :], self._folded, self._mark
        )

    def acknowledge(self, write: Write, outcome: Written | Exception) -> None:
        """Take the log's reply to a write."""
        if isinstance(outcome, Written) and outcome.stop:
            self.stop()
        match outcome:
            case Written("ok"):
                self._confirm(write)
            case Written("hole", seq) if seq >= self._after:
                _logger.warning("tail_sent_again", session=self.lease.session_id, turn=self.lease.turn, after=seq)
                self._written = seq - self._after
                self._batcher.schedule(self, now=True)
            case Written("hole"):
                self.lose(LostTailError("the log lost events of an earlier attempt"))
            case Written():
                self.lose(FencedError("the turn is another worker's, or gone"))
            case StoreUnavailableError():
                self._batcher.schedule(self, delay=_RETRY_SECONDS)
            case error:
                self.lose(error)

    def _confirm(self, write: Write) -> None:
        self._written += len(write.events)
        self._written_mark = write.mark
        self._stored = self._sent
        if self._drained is not None and not self.is_full and not self._drained.done():
            self._drained.set_result(None)
        if self._folded is None and self._written >= self._checkpoint_at:
            self._checkpoint_at = self._written + _CHECKPOINT_EVENTS
            self._batcher.checkpoint(self.lease, self._after + self._written, self._fold_to(self._written))
        if self._folded is not None and self._written == len(self._events) and not self._done.done():
            self._done.set_result(None)
        elif self.has_unwritten:
            self._batcher.schedule(self)

    def _number_pieces(self) -> None:
        if text := "".join(self._pieces):
            if not text.isascii():
                # A lone surrogate cannot be encoded, and the error would stop the flush of all turns.
                text = surrogates.joined(text)
            self._events.append((self._kind.type, self._kind(text).encoded()))
        self._pieces.clear()

    def _fold_to(self, count: int) -> bytes:
        """The turn as the first `count` of this attempt's events leave it. Each event is folded once."""
        self._fold.apply_all(self.lease.turn, self._events[self._fold_count : count])
        self._fold_count = count
        return stored_turn(self._fold.turn(self.lease.turn))
