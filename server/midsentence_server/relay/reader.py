"""A reader: a cursor into one session's feed, and the sink to which what it lacks is written."""

import asyncio
import random
from typing import Protocol

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence_server.relay.burst import Burst
from midsentence_server.relay.dialects import Dialect
from midsentence_server.relay.feed import Feed
from midsentence_server.relay.replay_buffer import Frame

# How soon the readers of a server that shuts down come back. Spread, so that they do not arrive all at once.
_DRAIN_RETRY_MS = (200, 3000)


class Sink(Protocol):
    """Where a reader's bytes go."""

    @property
    def is_busy(self) -> bool:
        """Full for now: nothing may be written until the owner of the sink calls `Reader.wake`."""
        ...

    def send(self, burst: Burst) -> None:
        """Write frames that are written to other readers too."""

    def write(self, wire: bytes) -> None: ...

    def close(self, last: bytes) -> None:
        """End the stream cleanly, with these bytes."""


class Reader:
    __slots__ = (
        "_access", "_cursor", "_dialect", "_feed", "_has_left", "_is_looked_up", "_lookup", "_sink", "_state",
        "_until_end",
    )  # fmt: skip

    def __init__(self, feed: Feed, dialect: Dialect, sink: Sink, *, until_end: bool) -> None:
        """`until_end`: close the stream when the session is complete."""
        self._feed = feed
        self._dialect = dialect
        self._sink = sink
        self._cursor = b""
        self._until_end = until_end
        self._access = feed.access
        self._state = feed.state_wire
        self._has_left = False
        # True once the log was read for this cursor: if it is unknown then, send a snapshot.
        self._is_looked_up = False
        self._lookup: asyncio.Task[None] | None = None

    def start(self, greeting: bytes, first: Frame) -> None:
        """Write the greeting and what was found at the cursor, and from now on whatever comes."""
        self._cursor = first.last
        self._sink.write(greeting + self._dialect.render(first.wire + self._state))
        self._feed.join(self)
        self.wake()

    def deliver(self, burst: Burst) -> None:
        if self._cursor == burst.before and self._dialect.is_native and not self._sink.is_busy:
            self._cursor = burst.last
            self._sink.send(burst)
        else:
            self.wake()

    def wake(self) -> None:
        """Write all that is missing, if the sink takes it and the feed has it in memory."""
        feed = self._feed
        if self._has_left or self._sink.is_busy:
            return
        if feed.gone or feed.draining or not self._is_allowed(feed):
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
            self._sink.write(self._dialect.render(wire))
        if self._dialect.is_finished or (self._until_end and feed.is_complete_at(self._cursor)):
            self._close()

    def ping(self) -> None:
        if not self._has_left and not self._sink.is_busy:
            self._sink.write(self._dialect.ping)

    def leave(self) -> None:
        """The client closed the connection, or was cut off."""
        self._has_left = True
        # A burst that is being delivered must no longer match.
        self._cursor = b""
        self._feed.leave(self)
        if self._lookup is not None:
            self._lookup.cancel()

    def _is_allowed(self, feed: Feed) -> bool:
        """Check again where the access changed: a share link may be revoked in the middle of a stream."""
        if feed.access is self._access:
            return True
        self._access = feed.access
        return feed.access is not None and self._dialect.allows(feed.access)

    def _close(self) -> None:
        self.leave()
        retry = b"retry: %d\n\n" % random.randint(*_DRAIN_RETRY_MS)  # noqa: S311 - jitter
        self._sink.close(retry if self._feed.draining else b"")

    def _look_up(self) -> None:
        if self._lookup is None:
            self._lookup = asyncio.get_running_loop().create_task(self._read_log())

    async def _read_log(self) -> None:
        try:
            await self._feed.load(self._cursor)
            self._is_looked_up = True
        except SessionNotFoundError:
            pass  # `Feed.gone` is set
        except StoreUnavailableError:
            # The feed wakes its readers when Redis is back.
            return
        finally:
            self._lookup = None
        self.wake()
