"""One session as this process follows it: heard from Redis, read from the log, told to all of its readers."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from midsentence import announcements
from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.events import Snapshot, StateChange, decode, encode
from midsentence.ids import EventId
from midsentence.log import Access, SessionLog, View
from midsentence_server.relay.replay_buffer import Frame, Frames
from midsentence_server.relay.single_flight import SharedRead

if TYPE_CHECKING:
    from midsentence.fold import Fold

# How soon a log that could not be read is read again. The subscription says when Redis is back; this is for Redises
# that refuse.
_RETRY_SECONDS = 1.0
# Publishing may lose a message without anybody noticing. How long such a loss may last: briefly while an answer is
# written, longer while nothing happens, where all that could be missed is that something began.
_STREAMING_SECONDS = 3.0
_IDLE_SECONDS = 30.0
_SOON_SECONDS = 0.1
# What an idle session said longer ago is not kept here, nor longer than the log keeps it: who comes back now reads the
# log.
_KEEP_SECONDS = 30.0
# A feed outlives its last reader by this: who was cut in the middle of an answer is soon back, all at the same time.
LINGER_SECONDS = 10.0

_logger = structlog.get_logger()


class Burst(NamedTuple):
    """What was published together, encoded once for all readers: the frames, and the same as a chunk of HTTP/1.1."""

    before: bytes
    last: bytes
    wire: bytes
    chunk: bytes


class Follower(Protocol):
    def heard(self, burst: Burst) -> None:
        """These frames came."""

    def wake(self) -> None:
        """There may be something new of any kind: frames, the state, or nothing more for ever."""

    def ping(self) -> None:
        """Nothing was said for MIDSENTENCE_PING_SECONDS."""


def chunk(wire: bytes) -> bytes:
    """RFC 9112, 7.1."""
    return b"%x\r\n%b\r\n" % (len(wire), wire)


class Feed:
    __slots__ = (
        "_begins", "_burst", "_early", "_fold", "_folded_to", "_frames", "_hears", "_is_current",
        "_keep_seconds", "_left_at", "_log", "_loop", "_ping_seconds", "_reading", "_retrying", "_said_at",
        "_snapshot", "_spoke_at", "_stale_at", "_subscription", "access", "draining", "followers", "gone",
        "ready", "session_id", "state", "state_wire", "top",
    )  # fmt: skip

    def __init__(self, session_id: str, log: SessionLog, *, ping_seconds: float, replay_seconds: float) -> None:
        self.session_id = session_id
        # Done when the subscription stands.
        self.ready: asyncio.Future[None]
        self.followers: set[Follower] = set()
        # Id of the newest event that is known here; empty until the log was read once.
        self.top = b""
        self.access: Access | None = None
        self.state: StateChange | None = None
        self.state_wire = b""
        # There is no such session, or there is none any more.
        self.gone = False
        self.draining = False
        self._log = log
        # Kept, since Python 3.11 asks the system for the process's number whenever it is asked for the loop.
        self._loop = asyncio.get_running_loop()
        self._ping_seconds = ping_seconds
        self._keep_seconds = min(replay_seconds, _KEEP_SECONDS)
        self._frames = Frames()
        # What came together, and the id before it.
        self._burst: list[bytes] = []
        self._begins = b""
        self._early: list[bytes] = []
        # How often the subscription was made, whether it stands, and whether the log was read since.
        self._subscription = 0
        self._hears = self._is_current = False
        # What a reader without a place begins with: the fold, the event up to which it goes, and its wire.
        self._fold: Fold | None = None
        self._folded_to = b""
        self._snapshot = b""
        self._reading = SharedRead(self._load, self._failed)
        self._retrying: asyncio.TimerHandle | None = None
        # When there were frames, when readers heard anything, when the last of them left, when the log is to be read.
        self._said_at = self._spoke_at = self._left_at = self._loop.time()
        self._stale_at = self._said_at + _STREAMING_SECONDS

    # Readers

    def join(self, follower: Follower) -> None:
        self.followers.add(follower)

    def leave(self, follower: Follower) -> None:
        self.followers.discard(follower)
        self._left_at = self._loop.time()

    @property
    def is_idle(self) -> bool:
        return self.state is not None and self.state.state == "idle"

    def from_memory(self, cursor: bytes) -> Frame | None:
        """What a reader at this cursor, or at none, lacks; None where the log has to say it."""
        if not self._is_current:
            return None
        return self.since(cursor) if cursor else self.snapshot()

    def since(self, cursor: bytes) -> Frame | None:
        """The frames after the cursor, or None where none are known to follow it."""
        return Frame(cursor, b"") if cursor == self.top else self._frames.since(cursor)

    def snapshot(self) -> Frame | None:
        """The session folded up to its newest event; None where what is kept here does not reach back to a fold."""
        if self._fold is None or (after := self.since(self._folded_to)) is None:
            return None
        if after.wire or not self._snapshot:
            # Every event is folded once, and the whole encoded once, however many readers come.
            for event in decode(after.wire):
                self._fold.apply(event)
            self._folded_to = after.last
            folded = Snapshot(self.session_id, self.state.state if self.state else "idle", self._fold.messages())
            self._snapshot = encode(EventId.parse(after.last.decode()), "snapshot", folded.encoded())
        return Frame(after.last, self._snapshot)

    # The subscription (`live.Listener`)

    def subscribed(self) -> None:
        self._subscription += 1
        self._hears = True
        if self.top:
            # Nothing was heard since it was interrupted.
            self.refresh()

    def interrupted(self) -> None:
        self._hears = self._is_current = False

    def published(self, payload: bytes) -> None:
        """The hot path: one call for each message of Redis, whatever the number of readers."""
        if not self.top:
            self._early.append(payload)
            return
        before, last, state_changed, wire = announcements.decode(payload)
        if wire and before == self.top:
            if not self._burst:
                self._begins = before
            self._burst.append(wire)
            self._frames.keep(before, last, wire)
            self.top = last
            if state_changed:
                self.refresh()
        elif last != self.top or state_changed:
            self.refresh()

    def settle(self) -> None:
        """Give the readers what came together in one piece."""
        if self._burst:
            wire = self._burst[0] if len(self._burst) == 1 else b"".join(self._burst)
            self._burst.clear()
            burst = Burst(self._begins, self.top, wire, chunk(wire))
            self._said_at = self._spoke_at = self._loop.time()
            for follower in [*self.followers]:
                follower.heard(burst)

    # The log

    def refresh(self) -> None:
        """Read the log again soon, from what is newest here."""
        self._reading.begin()

    async def load(self, cursor: bytes) -> None:
        """Read the log by a read that begins after this call and tells what comes after the cursor, b"" for none.

        Raises SessionNotFoundError, StoreUnavailableError.
        """
        await self._reading.of(cursor)

    def close(self) -> None:
        if self._retrying is not None:
            self._retrying.cancel()
        self._reading.close()

    def look(self, now: float) -> float | None:
        """Do what has become due; returns when to look again, or None where nobody needs this feed."""
        if not self.followers and (self.gone or now - self._left_at >= LINGER_SECONDS):
            return None
        if now - self._spoke_at >= self._ping_seconds:
            self._spoke_at = now
            for follower in [*self.followers]:
                follower.ping()
        # What is heard tells by itself that nothing before it was lost; but not of the state, for ever.
        due = min(max(self._stale_at, self._said_at + _STREAMING_SECONDS), self._stale_at + _IDLE_SECONDS)
        if now >= due and self.top:
            self._stale_at = due = now + _STREAMING_SECONDS
            self.refresh()
        if self.is_idle and now - self._said_at >= self._keep_seconds:
            self._frames.clear()
            self._fold = None
            self._snapshot = b""
        if not self._frames.is_empty and self.is_idle:
            due = min(due, self._said_at + self._keep_seconds)
        # Not more often than it must: there may be ten thousand of these.
        return min(max(due, now + _SOON_SECONDS), self._spoke_at + self._ping_seconds, now + LINGER_SECONDS)

    async def _load(self, wanted: set[bytes]) -> None:
        top, subscription = self.top, self._subscription
        view = await self._read(top, {cursor for cursor in wanted if self.from_memory(cursor) is None})
        self._adopt(top, view)
        self._is_current = self._hears and subscription == self._subscription
        self._wake()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, SessionNotFoundError):
            self.gone = True
            self._wake()
            return
        if not isinstance(error, StoreUnavailableError):
            _logger.error("load_failed", session=self.session_id, exc_info=error)
        # Who waits here waits on with a cursor.
        if self.top and self._retrying is None:
            self._retrying = self._loop.call_later(_RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        self.refresh()

    def _wake(self) -> None:
        for follower in [*self.followers]:
            follower.wake()

    async def _read(self, top: bytes, wanted: set[bytes]) -> View:
        places = wanted | {top} if top else wanted
        if len(places) > 1:
            return await self._log.read(self.session_id, window=True)
        (place,) = places
        return await self._log.read(self.session_id, EventId.parse(place.decode()))

    def _adopt(self, top: bytes, view: View) -> None:
        """Take over what was read when `top` was the newest here; more may have been heard since."""
        if view.access != self.access:
            self.access = view.access
        state = StateChange(view.state, view.turn, view.queued, view.title, view.model)
        if state != self.state:
            self.state, self.state_wire = state, encode(None, "state", state.encoded())
            self._snapshot = b""
        self._stale_at = self._loop.time() + (_IDLE_SECONDS if self.is_idle else _STREAMING_SECONDS)
        ids = [_name(view.after), *(_name(event.id) for event in view.events)]
        overtaken = self.top != top
        if top and top not in ids:
            # The log no longer holds what this feed took for its newest event: nothing kept here can be trusted.
            self._frames.clear()
            self._fold = None
            if overtaken:
                self.refresh()
            overtaken = False
        older = zip(ids, ids[1:], view.events, strict=False)
        self._frames.put_before((before, last, encode(*event)) for before, last, event in older)
        if view.fold is not None:
            self._fold, self._folded_to, self._snapshot = view.fold, _name(view.top), b""
        if not overtaken or self.top in ids:
            self.top = ids[-1]
        early, self._early = self._early, []
        for payload in early:
            self.published(payload)
        # They are found by their place, by everybody who is woken now.
        self._burst.clear()


def _name(event_id: EventId) -> bytes:
    return str(event_id).encode()
