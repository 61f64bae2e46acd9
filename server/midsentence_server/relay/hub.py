"""All sessions that this process follows: one subscription and one feed each, whatever the number of readers."""

import asyncio
import functools

from midsentence import keys
from midsentence.errors import SessionNotFoundError
from midsentence.ids import is_session_id
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.subscriptions import Subscriptions
from midsentence_server.relay.clock import Clock
from midsentence_server.relay.feed import Feed
from midsentence_server.relay.log_checks import LogChecks

# How late a ping or a poll may be.
_TICK_SECONDS = 0.1


class Hub:
    def __init__(self, log: SessionLog, live: Subscriptions, settings: Settings) -> None:
        self.log = log
        self.draining = False
        self._live = live
        self._settings = settings
        self._feeds: dict[str, Feed] = {}
        # Until Redis confirmed the subscription. Kept here: a feed must not hold the task that holds the feed.
        self._subscribing: dict[str, asyncio.Task[None]] = {}
        self._checks = LogChecks(log)
        self._clock = Clock(self._feeds, min(_TICK_SECONDS, settings.ping_seconds / 4), self._drop)

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
            feed = self._open(session_id)
        if session_id in self._subscribing:
            # Shielded: a reader that leaves must not cancel the subscription that others wait for.
            await asyncio.shield(self._subscribing[session_id])
        return feed

    def forget(self, feed: Feed) -> None:
        """Drop the feed of a session that does not exist: a client that guesses ids must not fill the memory."""
        if not feed.followers:
            self._drop(feed)

    async def run(self) -> None:
        """Let every feed do what is due, for ever."""
        await self._clock.run()

    def drain(self) -> None:
        """Send every reader away, to come back to another server."""
        self.draining = True
        for feed in self._feeds.values():
            feed.drain()

    def _open(self, session_id: str) -> Feed:
        feed = self._feeds[session_id] = Feed(
            session_id,
            self.log,
            self._checks,
            ping_seconds=self._settings.ping_seconds,
            replay_seconds=self._settings.replay_seconds,
            draining=self.draining,
        )
        task = asyncio.create_task(self._live.subscribe(keys.session(session_id).live, feed))
        task.add_done_callback(functools.partial(self._subscribed, feed))
        self._subscribing[session_id] = task
        self._clock.add(feed)
        return feed

    def _subscribed(self, feed: Feed, task: "asyncio.Task[None]") -> None:
        if self._subscribing.get(feed.session_id) is task:
            del self._subscribing[feed.session_id]
        if not task.cancelled() and task.exception() is not None:
            self._drop(feed)

    def _drop(self, feed: Feed) -> None:
        if self._feeds.get(feed.session_id) is feed:
            del self._feeds[feed.session_id]
            self._subscribing.pop(feed.session_id, None)
            feed.close()
            self._live.unsubscribe(keys.session(feed.session_id).live)
