"""The subscriptions of a process: hear what is appended, and heal by themselves.

Publishing is only a wake-up that happens to carry the data. Whatever is missed here is found in the log, so every
listener is told when a subscription (re)starts and reads the log then.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

import structlog
from redis.exceptions import MovedError

from midsentence.errors import StoreUnavailableError
from midsentence.store.node import Node
from midsentence.store.store import Store, address
from midsentence.store.subscriber import Line

# Channels that lost their node are placed anew together, this long after the first, since the slots of a cluster move
# by the hundred and two nodes may disagree for a moment; and again after the longer time where nobody serves them.
_GATHER_SECONDS = 0.01
_RETRY_SECONDS = 0.25

_logger = structlog.get_logger()


class Listener(Protocol):
    def subscribed(self) -> None:
        """The subscription stands, for the first time or again: what was published before may have been missed."""

    def interrupted(self) -> None:
        """Nothing is heard until it stands again."""

    def published(self, payload: bytes) -> None:
        """Take a message in. Others may have come with it: what they cause together waits for `settle`."""

    def settle(self) -> None:
        """All that had come by now was told."""


class Live:
    """Listeners by channel, on one connection for each Redis node. `run()` must be running for it to heal."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[bytes, Listener] = {}
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._lines: dict[Node, Line] = {}
        self._at: dict[str, Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._homeless: set[str] = set()
        self._news = asyncio.Event()

    def listen(self, channels: Iterable[str], listener: Listener) -> None:
        """Listen from the moment at which `run` finds Redis. Nothing waits for it here."""
        for channel in channels:
            self._listeners[channel.encode()] = listener
            self._homeless.add(channel)
        self._news.set()

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Listen to a channel; returns once Redis confirmed it.

        Raises StoreUnavailableError when it does not in time.
        """
        self._listeners[channel.encode()] = listener
        confirmed = self._confirmed.setdefault(channel, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(self._store.settings.redis_timeout_seconds):
                await self._place(channel)
                await asyncio.shield(confirmed)
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"Redis at {address(self._store.settings)} does not confirm a subscription"
            ) from error

    def unsubscribe(self, channel: str) -> None:
        self._listeners.pop(channel.encode(), None)
        self._confirmed.pop(channel, None)
        self._homeless.discard(channel)
        line = self._at.pop(channel, None)
        if line is not None:
            line.leave(channel)

    async def run(self) -> None:
        """Find a node for every channel that has none, for ever."""
        failing = False
        while True:
            await self._news.wait()
            await asyncio.sleep(_RETRY_SECONDS if failing else _GATHER_SECONDS)
            self._news.clear()
            try:
                for channel in list(self._homeless):
                    await self._place(channel)
                failing = False
            except StoreUnavailableError as error:
                if not failing:
                    _logger.warning("channels_unserved", error=str(error), channels=len(self._homeless))
                failing = True
                self._news.set()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What a line tells (`line.Exchange`)

    def published(self, messages: list[tuple[bytes, bytes]]) -> None:
        touched: dict[Listener, None] = {}
        for channel, payload in messages:
            listener = self._listeners.get(channel)
            if listener is not None:
                listener.published(payload)
                touched[listener] = None
        for listener in touched:
            listener.settle()

    def subscribed(self, channel: str) -> None:
        listener = self._listeners.get(channel.encode())
        if listener is not None:
            confirmed = self._confirmed.setdefault(channel, asyncio.get_running_loop().create_future())
            if not confirmed.done():
                confirmed.set_result(None)
            listener.subscribed()

    def displaced(self, line: Line, channels: Iterable[str]) -> None:
        for channel in list(channels):
            line.channels.discard(channel)
            if self._at.get(channel) is line:
                del self._at[channel]
                self._homeless.add(channel)
                self._news.set()

    def moved(self, line: Line, error: MovedError) -> None:
        self._store.topology.moved(line.node, error)

    async def lost(self, line: Line) -> None:
        for channel in line.channels:
            if (listener := self._listeners.get(channel.encode())) is not None:
                listener.interrupted()
        try:
            await self._store.topology.look_again()
            elsewhere = [each for each in list(line.channels) if await self._store.node(each) is not line.node]
        except StoreUnavailableError:
            return
        self.displaced(line, elsewhere)

    def over(self, line: Line) -> None:
        del self._lines[line.node]

    async def _place(self, channel: str) -> None:
        node = await self._store.node(channel)
        self._homeless.discard(channel)
        # They may have left meanwhile.
        if channel.encode() in self._listeners:
            line = self._at[channel] = self._lines.get(node) or self._open(node)
            line.join(channel)

    def _open(self, node: Node) -> Line:
        line = self._lines[node] = Line(node, self)
        task = asyncio.create_task(line.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return line
