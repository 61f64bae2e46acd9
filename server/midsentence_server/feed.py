"""One session as this process follows it: the frames that came lately, shared by all of its readers.

A frame is kept under the id of the event before it. A reader is a cursor: what it still lacks is the chain of frames
that begins there, and a cursor that begins no chain is looked up in the log. Order, holes and duplicates are all
settled by that one comparison of ids.
"""

import asyncio
from typing import NamedTuple, Protocol

import structlog

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.events import Event, StateChange, encode
from midsentence.ids import EventId
from midsentence.log import SessionLog, View

# Frames beyond these are let go, oldest first; a reader who still needs them reads the log. Bounds what a stalled
# reader can cost.
_KEPT_FRAMES = 512
_KEPT_BYTES = 1 << 20
# A refresh that tokens overtake is tried again, but not for ever: the next one is never far.
_TRIES = 3
_RETRY_SECONDS = 1.0

_logger = structlog.get_logger()


class Frame(NamedTuple):
    last: bytes
    wire: bytes


class Follower(Protocol):
    def wake(self) -> None:
        """There is something new, or there may be."""


def wire_of(events: list[Event]) -> bytes:
    return b"".join(encode(*event) for event in events)


class Feed:
    def __init__(self, session_id: str, log: SessionLog) -> None:
        self.session_id = session_id
        self.followers: set[Follower] = set()
        # Id of the newest event that is known here; empty until the log was read once.
        self.top = b""
        self.state: StateChange | None = None
        self.gone = False
        self.read_at = 0.0
        self._log = log
        self._frames: dict[bytes, Frame] = {}
        self._bytes = 0
        self._early: list[bytes] = []
        self._reads = 0
        self._adopted = 0
        self._refreshing: asyncio.Task[None] | None = None
        self._again = False

    def since(self, cursor: bytes) -> tuple[bytes, bytes] | None:
        """(the frames after the cursor, the cursor after them), or None where only the log can tell."""
        if cursor == self.top:
            return b"", cursor
        wires: list[bytes] = []
        while (frame := self._frames.get(cursor)) is not None:
            wires.append(frame.wire)
            cursor = frame.last
        return (b"".join(wires), cursor) if wires else None

    async def read(self, cursor: EventId | None) -> View:
        """Read the log, and learn from it what the session's state is.

        Raises SessionNotFoundError, StoreUnavailableError.
        """
        self._reads += 1
        number = self._reads
        view = await self._log.read(self.session_id, cursor)
        self.read_at = asyncio.get_running_loop().time()
        # Replies may overtake each other: what an older read saw must not undo what a newer one did.
        if number > self._adopted:
            self._adopted = number
            self.state = StateChange(view.state, view.turn, view.queued, view.title, view.model)
        if not self.top:
            self.top = str(view.top).encode()
            early, self._early = self._early, []
            for payload in early:
                self.published(payload)
        return view

    def subscribed(self) -> None:
        """Nothing before this moment was heard, or a reconnect lost some of it."""
        if self.top:
            self.refresh()

    def published(self, payload: bytes) -> None:
        """The hot path: one call for each message of Redis, whatever the number of readers."""
        if not self.top:
            self._early.append(payload)
            return
        header, _, wire = payload.partition(b"\n")
        before, last, flags = header.split(b" ")
        if wire and before == self.top:
            self._keep(before, Frame(last, wire))
            self._wake()
            if flags == b"s":
                self.refresh()
        elif last != self.top or flags == b"s":
            self.refresh()

    def refresh(self) -> None:
        """Read the log again soon; calls that come while it is read are answered together by one more."""
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
            self._refreshing.add_done_callback(self._refreshed)
        else:
            self._again = True

    def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("refresh_failed", session=self.session_id, exc_info=error)
        if self._again and not task.cancelled():
            self._again = False
            self.refresh()

    async def _refresh(self) -> None:
        for _ in range(_TRIES):
            self._again = False
            top = self.top
            try:
                view = await self.read(EventId.parse(top.decode()))
            except SessionNotFoundError:
                self.gone = True
                break
            except StoreUnavailableError:
                # The subscription says when Redis is back; until then the readers wait with their cursors.
                await asyncio.sleep(_RETRY_SECONDS)
                self._again = True
                return
            if top == self.top:
                self._catch_up(top, view)
                break
        self._wake()

    def _catch_up(self, top: bytes, view: View) -> None:
        last = str(view.top).encode()
        if view.fold is not None:
            # The log no longer holds what this feed took for its newest event: nothing kept here can be trusted.
            self._frames.clear()
            self._bytes = 0
            self.top = last
        elif view.events:
            self._keep(top, Frame(last, wire_of(view.events)))

    def _keep(self, before: bytes, frame: Frame) -> None:
        self._frames[before] = frame
        self._bytes += len(frame.wire)
        self.top = frame.last
        while len(self._frames) > _KEPT_FRAMES or self._bytes > _KEPT_BYTES:
            self._bytes -= len(self._frames.pop(next(iter(self._frames))).wire)

    def _wake(self) -> None:
        for follower in self.followers:
            follower.wake()
