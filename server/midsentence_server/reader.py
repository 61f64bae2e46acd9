"""A reader: a cursor into one session, and what it still lacks."""

import asyncio

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.events import StateChange, encode
from midsentence.ids import EventId
from midsentence.log import View
from midsentence_server.feed import Feed, wire_of
from midsentence_server.hub import Hub

_STORE_RETRY_SECONDS = 1.0


class Reader:
    def __init__(self, hub: Hub, session_id: str, *, until_end: bool) -> None:
        self._hub = hub
        self._session_id = session_id
        self._until_end = until_end
        self._cursor = b""
        self._state: StateChange | None = None
        self._news = asyncio.Event()
        self._left = False

    def wake(self) -> None:
        self._news.set()

    def leave(self) -> None:
        """The other side hung up."""
        self._left = True
        self._news.set()

    async def begin(self, feed: Feed, cursor: EventId | None) -> tuple[View, bytes]:
        """Attach at a cursor: what the log holds there, and its wire, the snapshot or the replay, then the state.

        Raises SessionNotFoundError, StoreUnavailableError.
        """
        view = await feed.read(cursor)
        self._cursor = str(view.top).encode()
        return view, self._wire_of(view) + self._state_change(feed)

    def is_done(self, feed: Feed) -> bool:
        """Everything was read, the last turn's end included, and nothing is queued behind it."""
        return feed.state is not None and feed.state.state == "idle" and self._cursor == feed.top

    async def next(self, feed: Feed, patience: float) -> bytes | None:
        """Wait for native frames.

        Returns b"" when none came within `patience` seconds, None when the stream is to be closed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while True:
            self._news.clear()
            if self._left or self._hub.draining or feed.gone:
                return None
            wire = await self._missing(feed) + self._state_change(feed)
            if wire:
                return wire
            if self._until_end and self.is_done(feed):
                return None
            if loop.time() >= deadline:
                return b""
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                return b""

    async def _missing(self, feed: Feed) -> bytes:
        found = feed.since(self._cursor)
        if found is None:
            try:
                view = await feed.read(EventId.parse(self._cursor.decode()))
            except SessionNotFoundError:
                feed.gone = True
                self.wake()
                return b""
            except StoreUnavailableError:
                await asyncio.sleep(_STORE_RETRY_SECONDS)
                self.wake()
                return b""
            found = self._wire_of(view), str(view.top).encode()
        wire, self._cursor = found
        return wire

    def _wire_of(self, view: View) -> bytes:
        if view.fold is None:
            return wire_of(view.events)
        return encode(view.top, "snapshot", view.snapshot(self._session_id).encoded())

    def _state_change(self, feed: Feed) -> bytes:
        if feed.state is None or feed.state == self._state:
            return b""
        self._state = feed.state
        return encode(None, "state", feed.state.encoded())
