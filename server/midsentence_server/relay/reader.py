"""A reader: a cursor into one session's feed, and the outlet through which what it lacks is written."""

import asyncio
import random
from typing import Protocol

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence_server.relay.dialects import Dialect
from midsentence_server.relay.feed import Burst, Feed
from midsentence_server.relay.replay_buffer import Frame

# How soon the readers of a server that goes away come back. Spread, so that they do not arrive as one.
_DRAIN_RETRY_MS = (200, 3000)


class Outlet(Protocol):
    """Where a reader's bytes go."""

    @property
    def is_busy(self) -> bool:
        """It takes nothing for now, and calls `Reader.wake` when it does again."""
        ...

    def send(self, burst: Burst) -> None:
        """Write frames that are written to others too."""

    def write(self, wire: bytes) -> None: ...

    def close(self, last: bytes) -> None:
        """End the stream cleanly, with these bytes."""


class Reader:
    __slots__ = (
        "_access", "_cursor", "_dialect", "_feed", "_is_looked_up", "_looking", "_outlet", "_over", "_state",
        "_until_end",
    )  # fmt: skip

    def __init__(self, feed: Feed, dialect: Dialect, *, until_end: bool) -> None:
        self._feed = feed
        self._dialect = dialect
        self._until_end = until_end
        self._outlet: Outlet
        self._access = feed.access
        self._cursor = b""
        self._state = b""
        self._over = False
        self._looking: asyncio.Task[None] | None = None
        # Nothing but the log knew whether the cursor is honoured, and it was asked.
        self._is_looked_up = False

    async def find(self, cursor: bytes) -> Frame:
        """What this reader begins with at its cursor, b"" for none: a replay or a snapshot.

        Raises SessionNotFoundError, StoreUnavailableError.
        """
        found = self._feed.from_memory(cursor)
        # That nothing will come is said only by a read that began after the request, whatever memory has of the past:
        # the message whose answer this reader wants may have been written a moment ago through another server.
        if found is not None and not (self._until_end and self._feed.is_idle):
            return found
        await self._feed.load(cursor)
        while (found := (self._feed.since(cursor) if cursor else None) or self._feed.snapshot()) is None:
            # What was read was overtaken, by a failover say.
            await self._feed.load(b"")
        return found

    def is_done_at(self, cursor: bytes) -> bool:
        """Everything was read, the last turn's end included, and nothing is queued behind it."""
        return self._feed.is_idle and cursor == self._feed.top

    def begin(self, outlet: Outlet, greeting: bytes, first: Frame) -> None:
        """Write what was found, and whatever comes from now on."""
        self._outlet = outlet
        self._access = self._feed.access
        self._cursor = first.last
        self._state = self._feed.state_wire
        outlet.write(greeting + self._dialect.render(first.wire + self._state))
        self._feed.join(self)
        self.wake()

    def heard(self, burst: Burst) -> None:
        if self._cursor == burst.before and self._dialect.is_native and not self._outlet.is_busy:
            self._cursor = burst.last
            self._outlet.send(burst)
        else:
            self.wake()

    def wake(self) -> None:
        """Write all that is missing, if the outlet takes it and memory has it."""
        feed = self._feed
        if self._over or self._outlet.is_busy:
            return
        if feed.gone or feed.draining or not self._is_admitted(feed):
            self._close()
            return
        found = feed.since(self._cursor) or (feed.snapshot() if self._is_looked_up else None)
        if found is None:
            self._look_up()
            return
        self._cursor = found.last
        self._is_looked_up = False
        wire = found.wire
        if feed.state_wire is not self._state:
            self._state = feed.state_wire
            wire += self._state
        if wire:
            self._outlet.write(self._dialect.render(wire))
        if self._dialect.over or (self._until_end and self.is_done_at(self._cursor)):
            self._close()

    def _is_admitted(self, feed: Feed) -> bool:
        """What was shared may be taken back in the middle of a stream."""
        if feed.access is self._access:
            return True
        self._access = feed.access
        return feed.access is not None and self._dialect.admits(feed.access)

    def ping(self) -> None:
        if not self._over and not self._outlet.is_busy:
            self._outlet.write(self._dialect.ping)

    def leave(self) -> None:
        """The other side hung up, or was cut off."""
        self._over = True
        # What is on its way to all readers finds no reader here.
        self._cursor = b""
        self._feed.leave(self)
        if self._looking is not None:
            self._looking.cancel()

    def _close(self) -> None:
        self.leave()
        retry = b"retry: %d\n\n" % random.randint(*_DRAIN_RETRY_MS)  # noqa: S311 - jitter
        self._outlet.close(retry if self._feed.draining else b"")

    def _look_up(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._looked_up())

    async def _looked_up(self) -> None:
        try:
            await self._feed.load(self._cursor)
            self._is_looked_up = True
        except SessionNotFoundError:
            pass  # the feed says so
        except StoreUnavailableError:
            # The feed wakes its readers when Redis is back.
            return
        finally:
            self._looking = None
        self.wake()
