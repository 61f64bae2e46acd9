"""All the sessions that this process follows: one subscription and one feed each, whatever the number of readers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from midsentence import keys
from midsentence.errors import SessionNotFoundError
from midsentence.ids import is_session_id
from midsentence.live import Live
from midsentence.log import SessionLog
from midsentence_server.feed import Feed, Follower

# Publishing may lose a message without anybody noticing. How long such a loss may last: briefly while an answer is
# written, longer while nothing happens, where all that could be missed is that something began.
_STREAMING_SECONDS = 3.0
_IDLE_SECONDS = 30.0
_LOOK_SECONDS = 0.5


class Hub:
    def __init__(self, log: SessionLog, live: Live) -> None:
        self.log = log
        self.draining = False
        self._live = live
        self._feeds: dict[str, Feed] = {}
        self._ready: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def follow(self, session_id: str, follower: Follower) -> AsyncGenerator[Feed]:
        """The session's feed, subscribed: whatever is appended from now on reaches the follower.

        Raises SessionNotFoundError for what is no id, StoreUnavailableError.
        """
        if not is_session_id(session_id):
            raise SessionNotFoundError(session_id)
        feed = self._feeds.get(session_id)
        if feed is None:
            feed = self._feeds[session_id] = Feed(session_id, self.log)
            self._ready[session_id] = asyncio.create_task(self._live.subscribe(keys.session(session_id).live, feed))
        feed.followers.add(follower)
        try:
            # Shielded: a reader who leaves must not undo the subscription that others wait for.
            await asyncio.shield(self._ready[session_id])
            yield feed
        finally:
            feed.followers.discard(follower)
            if not feed.followers and self._feeds.get(session_id) is feed:
                del self._feeds[session_id]
                del self._ready[session_id]
                feed.close()
                await self._live.unsubscribe(keys.session(session_id).live)

    async def watch(self) -> None:
        """Read again, every so often, what is followed; a lost message is then late and not lost."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = loop.time()
            for feed in list(self._feeds.values()):
                idle = feed.state is None or feed.state.state == "idle"
                if feed.top and now - feed.read_at > (_IDLE_SECONDS if idle else _STREAMING_SECONDS):
                    feed.refresh()

    def drain(self) -> None:
        """Send every reader away, to come back to another server."""
        self.draining = True
        for feed in self._feeds.values():
            for follower in feed.followers:
                follower.wake()
