"""One session as this process follows it: notified by Redis, read from the log, relayed to all of its readers."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

import structlog

from midsentence.announcements import decode
from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.events import StateChange, encode
from midsentence.ids import EventId
from midsentence.log import Access, Head, SessionLog, View
from midsentence.unreadable import passed_over
from midsentence_server.relay.burst import Burst, chunk
from midsentence_server.relay.deadlines import Deadlines
from midsentence_server.relay.replay_buffer import Frame, ReplayBuffer
from midsentence_server.relay.single_flight import SingleFlight
from midsentence_server.relay.snapshot_cache import SnapshotCache

# How soon the log is read again after a read failed. The subscription reports a Redis that is back; this is for one
# that answers with an error.
_RETRY_SECONDS = 1.0

_logger = structlog.get_logger()


class Mark(NamedTuple):
    """What a feed knew when a read of the log, or of its head, began."""

    number: int
    top: bytes
    subscription: int


class Follower(Protocol):
    def deliver(self, burst: Burst) -> None:
        """New frames are there."""

    def wake(self) -> None:
        """Anything may have changed: there are frames, another state, or an end of the feed."""

    def ping(self) -> None:
        """Nothing was sent for MIDSENTENCE_PING_SECONDS."""


class Checks(Protocol):
    """Compares feeds with their logs, many at once."""

    def add(self, feed: "Feed") -> None:
        """Compare this feed soon, by `Feed.compare`."""


class Feed:
    __slots__ = (
        "_burst", "_burst_before", "_checks", "_flight", "_frames", "_is_closed", "_is_current", "_is_subscribed",
        "_log", "_loop", "_reads", "_retry", "_snapshots", "_subscription", "_times", "_unloaded", "_unsubscribed",
        "access", "draining", "followers", "gone", "session_id", "state", "state_wire", "tick_at", "top",
    )  # fmt: skip

    def __init__(
        self,
        session_id: str,
        log: SessionLog,
        checks: Checks,
        *,
        ping_seconds: float,
        replay_seconds: float,
        redis_timeout_seconds: float,
        draining: bool = False,
    ) -> None:
        self.session_id = session_id
        self.followers: set[Follower] = set()
        # Id of the newest event that is known here; empty until the log was read once.
        self.top = b""
        self.access: Access | None = None
        self.state: StateChange | None = None
        self.state_wire = b""
        # The session does not exist, or no longer.
        self.gone = False
        self.draining = draining
        self._log = log
        self._checks = checks
        # Kept, since Python 3.11 asks the system for the process id at every `get_running_loop`.
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._times = Deadlines(
            now,
            ping_seconds=ping_seconds,
            replay_seconds=replay_seconds,
            redis_timeout_seconds=redis_timeout_seconds,
        )
        # When `tick` is to be called.
        self.tick_at = now
        self._frames = ReplayBuffer()
        self._snapshots = SnapshotCache()
        # Frames that were published together and not yet delivered, and the id before them.
        self._burst: list[bytes] = []
        self._burst_before = b""
        # Published before the log was read once.
        self._unloaded: list[bytes] = []
        # How often the subscription was made, whether it stands, and whether the log was read since.
        self._subscription = 0
        self._is_subscribed = self._is_current = self._is_closed = False
        # How many reads and checks began.
        self._reads = 0
        # Requests that wait for the first subscription.
        self._unsubscribed: list[asyncio.Future[None]] = []
        self._flight = SingleFlight(self._loop)
        self._retry: asyncio.TimerHandle | None = None

    # Readers

    def join(self, follower: Follower) -> None:
        self.followers.add(follower)

    def leave(self, follower: Follower) -> None:
        self.followers.discard(follower)
        self._times.reader_left(self._loop.time())

    def drain(self) -> None:
        """Send the readers away, to come back to another server."""
        self.draining = True
        self._wake()

    @property
    def is_idle(self) -> bool:
        return self.state is not None and self.state.state == "idle"

    def is_complete_at(self, cursor: bytes) -> bool:
        """Whether nothing follows the cursor, and no turn runs or is queued."""
        return self.is_idle and cursor == self.top

    async def find(self, cursor: bytes, *, until_end: bool) -> Frame:
        """Resolve the cursor of a reader that attaches, b"" for none: a replay or, in its place, a snapshot.

        `until_end`: the reader leaves when the session is complete. Raises SessionNotFoundError, StoreUnavailableError.
        """
        found = self.cached(cursor)
        # Only a read that begins after this request may tell the reader that nothing more will come. Memory may be
        # older than the POST, through another server, whose answer this reader wants.
        if found is not None and not (until_end and self.is_idle):
            return found
        await self.load(cursor)
        while (found := (self.since(cursor) if cursor else None) or self.snapshot()) is None:
            # The feed changed during the read, at a failover for example.
            await self.load(b"")
        return found

    def cached(self, cursor: bytes) -> Frame | None:
        """As `find`, from memory; None where the log must be read."""
        if not self._is_current:
            return None
        return self.since(cursor) if cursor else self.snapshot()

    def since(self, cursor: bytes) -> Frame | None:
        """The frames after the cursor, or None where none are known to follow it."""
        return Frame(cursor, b"") if cursor == self.top else self._frames.since(cursor)

    def snapshot(self) -> Frame | None:
        """The session folded up to its newest event; None where the frames do not reach back to a fold."""
        folded_to = self._snapshots.cursor
        if not folded_to or (newer := self.since(folded_to)) is None:
            return None
        return self._snapshots.advance(newer, self.session_id, self.state.state if self.state else "idle")

    # The subscription (`subscriptions.Listener`)

    async def wait_until_subscribed(self) -> None:
        """Wait for the first subscription. Raises StoreUnavailableError where the feed is closed without one."""
        if self._subscription == 0:
            request: asyncio.Future[None] = self._loop.create_future()
            self._unsubscribed.append(request)
            await request

    def subscribed(self) -> None:
        if self._subscription == 0:
            # The requests that waited for it attach now.
            self._times.reader_left(self._loop.time())
            waiting, self._unsubscribed = self._unsubscribed, []
            for request in waiting:
                if not request.done():
                    request.set_result(None)
        self._subscription += 1
        self._is_subscribed = True
        if self.top:
            # Messages may have been missed while it was interrupted.
            self._checks.add(self)

    def interrupted(self) -> None:
        self._is_subscribed = self._is_current = False

    def published(self, payload: bytes) -> None:
        """The hot path: one call for each message of Redis, whatever the number of readers."""
        if not self.top:
            self._unloaded.append(payload)
            return
        try:
            before, last, state_changed, wire = decode(payload)
        except ValueError:
            passed_over(self.session_id, "announcement")
            self.refresh()
            return
        if wire and before == self.top:
            if not self._burst:
                self._burst_before = before
            self._burst.append(wire)
            self._frames.append(before, last, wire)
            self.top = last
            if state_changed:
                self._checks.add(self)
        elif last != self.top:
            self.refresh()
        elif state_changed:
            self._checks.add(self)

    def batch_end(self) -> None:
        """Deliver the frames that came together in one piece."""
        if self._burst:
            wire = self._burst[0] if len(self._burst) == 1 else b"".join(self._burst)
            self._burst.clear()
            # A hot path: without the call of a NamedTuple's own constructor.
            fields = (self._burst_before, self.top, wire, chunk(wire))
            burst = tuple.__new__(Burst, fields)  # pyright: ignore[reportUnknownMemberType]
            times = self._times
            times.frames_at = times.output_at = self._loop.time()
            for follower in [*self.followers]:
                follower.deliver(burst)

    # The log

    def refresh(self) -> "asyncio.Future[None]":
        """Read the log again soon, from the newest event here. The future need not be awaited; do not cancel it."""
        return self._flight.start(self._load)

    def begin_read(self) -> Mark:
        """The log is read from now on, or its head, which is then given to `compare` with this mark."""
        self._reads += 1
        return Mark(self._reads, self.top, self._subscription)

    def compare(self, head: Head | StoreUnavailableError | None, mark: Mark) -> "asyncio.Future[None] | None":
        """Take over what changed, or read the log where a head cannot show it; returns this read, as `refresh` does."""
        if self._is_closed or mark.number != self._reads:
            # A later one tells more.
            return None
        if isinstance(head, StoreUnavailableError):
            self._retry_with(self._check_again)
            return None
        # Waiting messages are not in a head. A read that is running may be older than the head, and is adopted later.
        if head is None or not self._holds(head.top, mark) or head.newest != head.turn or self._flight.is_running:
            return self.refresh()
        before = self.access, self.state, self._is_current
        self._take_over(head.access, StateChange(head.state, head.turn, [], head.title, head.model), mark)
        if (self.access, self.state, self._is_current) != before:
            self._wake()
        return None

    def _holds(self, top: bytes, mark: Mark) -> bool:
        """Whether nothing is missing here of a log that ended at `top`; newer frames may have come since the mark."""
        return top in {self.top, mark.top}

    def _take_over(self, access: Access, state: StateChange, mark: Mark) -> None:
        """Take over what stands beside the events in a log that was read since the mark."""
        if access != self.access:
            self.access = access
        if state != self.state:
            self.state, self.state_wire = state, encode(None, "state", state.encoded())
            self._snapshots.state_changed()
        self._times.log_read(self._loop.time(), is_idle=self.is_idle)
        self._is_current = self._is_subscribed and mark.subscription == self._subscription

    async def load(self, cursor: bytes) -> None:
        """Wait for a read of the log that begins after this call and covers this cursor, b"" for none.

        Raises SessionNotFoundError, StoreUnavailableError.
        """
        await self._flight.wait(cursor, self._load)

    def close(self, reason: str = "") -> None:
        """End all work. `reason` is why there was no subscription."""
        self._is_closed = True
        for request in self._unsubscribed:
            if not request.done():
                request.set_exception(StoreUnavailableError(reason))
        if self._retry is not None:
            self._retry.cancel()
        self._flight.close()

    def tick(self, now: float) -> bool:
        """Do what is due and set `tick_at`; False where this feed is not needed any more."""
        times = self._times
        if not self._is_needed(now):
            return False
        if times.is_silent(now):
            times.output_at = now
            for follower in [*self.followers]:
                follower.ping()
        if self.top and times.is_stale(now):
            times.poll_begun(now)
            self._checks.add(self)
        if self.is_idle and times.is_cold(now):
            self._frames.clear()
            self._snapshots.clear()
        self.tick_at = times.next_tick(now, may_cool=self.is_idle and not self._frames.is_empty)
        return True

    def _is_needed(self, now: float) -> bool:
        if self.followers:
            return True
        if self.gone:
            return False
        # A request that waits for the subscription or for a read is no follower yet.
        if self._subscription == 0:
            return not self._times.is_unanswered(now)
        return self._flight.waiting > 0 or not self._times.is_unused(now)

    def _wake(self) -> None:
        for follower in [*self.followers]:
            follower.wake()

    async def _load(self, cursors: set[bytes]) -> None:
        mark = self.begin_read()
        try:
            view = await self._read(mark.top, {cursor for cursor in cursors if self.cached(cursor) is None})
        except SessionNotFoundError:
            self.gone = True
            self._wake()
            raise
        except Exception as error:
            if not isinstance(error, StoreUnavailableError):
                _logger.exception("load_failed", session=self.session_id)
            # Readers stay, and are served from their cursors when the log can be read again.
            if self.top:
                self._retry_with(self._read_again)
            raise
        self._take_over(view.access, StateChange(view.state, view.turn, view.queued, view.title, view.model), mark)
        self._adopt(mark.top, view)
        self._wake()

    async def _read(self, top: bytes, cursors: set[bytes]) -> View:
        starts = cursors | {top} if top else cursors
        if len(starts) > 1:
            return await self._log.read(self.session_id, window=True)
        (start,) = starts
        return await self._log.read(self.session_id, EventId.parse(start.decode(errors="replace")) if start else None)

    def _retry_with(self, action: Callable[[], None]) -> None:
        if self._retry is None:
            self._retry = self._loop.call_later(_RETRY_SECONDS, action)

    def _read_again(self) -> None:
        self._retry = None
        self.refresh()

    def _check_again(self) -> None:
        self._retry = None
        self._checks.add(self)

    def _adopt(self, top: bytes, view: View) -> None:
        """Take over the events of a view that was read when `top` was the newest here. Frames may have come since.

        Three cases:
        - The view lacks `top`: a failover lost it. All that is kept here, and all that came since, continues a history
          that is gone; begin again with the view, and read once more where frames came since.
        - Frames came since and the view ends before them: they stay the newest, and the view adds what is older.
        - Else the view ends with the newest event.
        """
        ids = [_name(view.after), *(_name(event.id) for event in view.events)]
        is_lost = top != b"" and top not in ids
        is_overtaken = top in ids and self.top not in ids
        if is_lost:
            self._frames.clear()
            self._snapshots.clear()
            if self.top != top:
                self.refresh()
        older = zip(ids, ids[1:], view.events, strict=False)
        self._frames.prepend((before, last, encode(*event)) for before, last, event in older)
        if view.fold is not None:
            self._snapshots.put(view.fold, _name(view.top))
        if not is_overtaken:
            self.top = ids[-1]
        unloaded, self._unloaded = self._unloaded, []
        for payload in unloaded:
            self.published(payload)
        # The readers, woken next, find these frames by their cursors; they must not get them again as a burst.
        self._burst.clear()


def _name(event_id: EventId) -> bytes:
    return str(event_id).encode()
