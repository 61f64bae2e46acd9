"""All the sessions that this process follows: one subscription and one feed each, whatever the number of readers."""

import asyncio
import heapq

from midsentence import keys
from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.ids import is_session_id
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.subscriptions import Live
from midsentence_server.relay.feed import Feed

# How late a ping or a look may be.
_TICK_SECONDS = 0.1


class Hub:
    def __init__(self, log: SessionLog, live: Live, settings: Settings) -> None:
        self.log = log
        self.draining = False
        self._live = live
        self._settings = settings
        self._feeds: dict[str, Feed] = {}
        # When which feed is to be looked at. The number keeps two of the same time from being compared.
        self._due: list[tuple[float, int, Feed]] = []
        self._number = 0

    async def feed(self, session_id: str) -> Feed:
        """The session's feed, subscribed: whatever is appended from now on reaches it.

        Raises SessionNotFoundError for what is no id, StoreUnavailableError.
        """
        feed = self._feeds.get(session_id)
        if feed is None or feed.gone:
            if not is_session_id(session_id):
                raise SessionNotFoundError(session_id)
            if feed is not None:
                self._drop(feed)
            feed = self._begin(session_id)
        if not feed.ready.done():
            try:
                # Shielded: a reader who leaves must not undo the subscription that others wait for.
                await asyncio.shield(feed.ready)
            except StoreUnavailableError:
                self._drop(feed)
                raise
        return feed

    def forget(self, feed: Feed) -> None:
        """Let go of a feed of a session that does not exist: whoever guesses ids must not be remembered for it."""
        if not feed.followers:
            self._drop(feed)

    async def watch(self) -> None:
        """Look after every feed, for ever: pings, lost messages, and readers who did not come back."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_TICK_SECONDS, self._settings.ping_seconds / 4))
            now = loop.time()
            while self._due and self._due[0][0] <= now:
                _, _, feed = heapq.heappop(self._due)
                if self._feeds.get(feed.session_id) is feed:
                    again = feed.look(now)
                    if again is None:
                        self._drop(feed)
                    else:
                        self._look_at(feed, again)

    def drain(self) -> None:
        """Send every reader away, to come back to another server."""
        self.draining = True
        for feed in self._feeds.values():
            feed.draining = True
            for follower in [*feed.followers]:
                follower.wake()

    def _begin(self, session_id: str) -> Feed:
        ping, replay = self._settings.ping_seconds, self._settings.replay_seconds
        feed = self._feeds[session_id] = Feed(session_id, self.log, ping_seconds=ping, replay_seconds=replay)
        feed.draining = self.draining
        feed.ready = asyncio.create_task(self._live.subscribe(keys.session(session_id).live, feed))
        self._look_at(feed, asyncio.get_running_loop().time())
        return feed

    def _look_at(self, feed: Feed, due: float) -> None:
        self._number += 1
        heapq.heappush(self._due, (due, self._number, feed))

    def _drop(self, feed: Feed) -> None:
        if self._feeds.get(feed.session_id) is feed:
            del self._feeds[feed.session_id]
            feed.close()
            self._live.unsubscribe(keys.session(feed.session_id).live)
