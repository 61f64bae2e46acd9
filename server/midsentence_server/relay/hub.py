"""All sessions that this process follows: one subscription and one feed each, whatever the number of readers."""

import asyncio

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.ids import is_session_id
from midsentence.keys import Keys
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.store import address
from midsentence.store.subscriptions import Subscriptions
from midsentence_server.relay.clock import Clock
from midsentence_server.relay.feed import Feed
from midsentence_server.relay.log_checks import LogChecks

# How late a ping or a poll may be.
_TICK_SECONDS = 0.1


class Hub:
    def __init__(self, log: SessionLog, live: Subscriptions, keys: Keys, settings: Settings) -> None:
        self.log = log
        self.draining = False
        self._live = live
        self._keys = keys
        self._settings = settings
        self._feeds: dict[str, Feed] = {}
        self._unconfirmed = f"Redis at {address(settings)} does not confirm a subscription"
        # Subscriptions whose server must be found first. Kept here: a feed must not hold the task that holds the feed.
        self._subscribing: set[asyncio.Task[None]] = set()
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
        await feed.wait_until_subscribed()
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
            redis_timeout_seconds=self._settings.redis_timeout_seconds,
            draining=self.draining,
        )
        channel = self._keys.session(session_id).live
        if not self._live.begin(channel, feed):
            task = asyncio.create_task(self._subscribe(channel, feed))
            self._subscribing.add(task)
            task.add_done_callback(self._subscribing.discard)
        self._clock.add(feed)
        return feed

    async def _subscribe(self, channel: str, feed: Feed) -> None:
        try:
            await self._live.subscribe(channel, feed)
        except StoreUnavailableError as error:
            self._drop(feed, str(error))

    def _drop(self, feed: Feed, reason: str = "") -> None:
        if self._feeds.get(feed.session_id) is feed:
            del self._feeds[feed.session_id]
            feed.close(reason or self._unconfirmed)
            self._live.unsubscribe(self._keys.session(feed.session_id).live)
