"""The one subscription of a process: hears what is appended, and heals by itself.

Publishing is only a wake-up that happens to carry the data. Whatever is missed here is found in the log, so every
listener is told when a subscription (re)starts and reads the log then.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError

from midsentence.connection import Store, address, refusal
from midsentence.errors import StoreUnavailableError

# A connection whose packets are dropped looks like a quiet one. It is asked this often, and given up after as long
# again without an answer.
_PING_SECONDS = 5.0
_BACK_OFF_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)
# Subscribed from the first moment: redis-py reads a connection only once it is subscribed to something.
_HEARTBEAT_CHANNEL = "ms:{heartbeat}"

_logger = structlog.get_logger()


class Listener(Protocol):
    def subscribed(self) -> None:
        """The subscription stands, for the first time or again: what was published before may have been missed."""

    def published(self, payload: bytes) -> None: ...


class Live:
    """Listeners by channel. `run()` must be running for anything to be heard."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[str, Listener] = {}
        self._acknowledged: dict[str, asyncio.Future[None]] = {}
        self._pubsub: Any = None
        # Commands reach Redis in the order in which they were meant: a reader who leaves and one who comes must not
        # swap.
        self._order = asyncio.Lock()

    def listen(self, channels: Iterable[str], listener: Listener) -> None:
        """Listen from the first connection on; call it before `run`. Nothing waits for Redis here."""
        self._listeners.update(dict.fromkeys(channels, listener))

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Listen to a channel; returns once Redis confirmed it.

        Raises StoreUnavailableError when it does not in time.
        """
        self._listeners[channel] = listener
        confirmed = self._acknowledged.setdefault(channel, asyncio.get_running_loop().create_future())
        if self._pubsub is not None:
            await self._send(self._pubsub.ssubscribe, channel)
        try:
            async with asyncio.timeout(self._store.settings.redis_timeout_seconds):
                await asyncio.shield(confirmed)
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"Redis at {address(self._store.settings)} does not confirm a subscription"
            ) from error

    async def unsubscribe(self, channel: str) -> None:
        self._listeners.pop(channel, None)
        self._acknowledged.pop(channel, None)
        if self._pubsub is not None:
            await self._send(self._pubsub.sunsubscribe, channel)

    async def run(self) -> None:
        """Listen for ever, over as many connections as it takes."""
        failures = 0
        while True:
            try:
                await self._connect()
                if failures:
                    _logger.info("subscription_restored", redis=address(self._store.settings))
                failures = 0
                await self._read()
            except (RedisError, OSError, StoreUnavailableError) as error:
                if not failures:
                    reason = refusal(error, self._store.settings) if isinstance(error, RedisError) else error
                    _logger.warning("subscription_lost", error=str(reason))
                await self._drop()
                await asyncio.sleep(_BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)])
                failures += 1

    async def aclose(self) -> None:
        await self._drop()

    async def _send(self, command: Callable[..., Any], *channels: str) -> None:
        try:
            async with self._order:
                await command(*channels)
        except (RedisError, OSError):
            # `run` meets the same broken connection and subscribes to everything anew.
            _logger.debug("subscription_command_failed", channels=channels)

    async def _connect(self) -> None:
        pubsub: Any = self._store.pubsub()
        await pubsub.ssubscribe(_HEARTBEAT_CHANNEL, *self._listeners)
        self._pubsub = pubsub

    async def _drop(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            try:
                await pubsub.aclose()
            except (RedisError, OSError):
                _logger.debug("subscription_close_failed")

    async def _read(self) -> None:
        unanswered = False
        while True:
            message = await self._pubsub.get_message(timeout=_PING_SECONDS)
            if message is not None:
                unanswered = False
                self._dispatch(message)
            elif unanswered:
                raise StoreUnavailableError(f"Redis at {address(self._store.settings)} is silent")
            else:
                unanswered = True
                await self._pubsub.ping()

    def _dispatch(self, message: dict[str, Any]) -> None:
        channel = (message["channel"] or b"").decode()
        listener = self._listeners.get(channel)
        if listener is None:
            return
        if message["type"] == "smessage":
            listener.published(message["data"])
        elif message["type"] == "ssubscribe":
            confirmed = self._acknowledged.setdefault(channel, asyncio.get_running_loop().create_future())
            if not confirmed.done():
                confirmed.set_result(None)
            listener.subscribed()
