"""The subscriptions of a process: they receive what is published, and repair themselves.

A published message only saves a read of the log. Every listener is notified when its subscription starts, or starts
again, and reads from the log what it missed.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

import structlog
from redis.exceptions import MovedError

from midsentence.errors import StoreUnavailableError
from midsentence.store.node import Node
from midsentence.store.store import Store
from midsentence.store.subscriber import Events, Subscriber

# Channels that lost their node are assigned again together, this long after the first of them: the slots of a cluster
# move by the hundred, and two nodes may disagree for a moment. Where no node serves them, after the longer time.
_GATHER_SECONDS = 0.01
_RETRY_SECONDS = 0.25

_logger = structlog.get_logger()


class Listener(Protocol):
    def subscribed(self) -> None:
        """The subscription is confirmed, for the first time or again: earlier messages may have been missed."""

    def interrupted(self) -> None:
        """No message is received until the subscription is confirmed again."""

    def published(self, payload: bytes) -> None:
        """A message arrived. Others may have arrived with it: work that they share waits for `batch_end`."""

    def batch_end(self) -> None:
        """All messages that arrived together were passed to `published`."""


class Subscriptions:
    """Listeners by channel, on one connection for each Redis node. `run()` must be running for them to be repaired."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[bytes, Listener] = {}
        self._subscribers: dict[Node, Subscriber] = {}
        self._assigned: dict[str, Subscriber] = {}
        self._unassigned: set[str] = set()
        self._has_unassigned = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._events = Events(self.published, self._subscribed, self._moved, self._lost)

    def listen(self, channels: Iterable[str], listener: Listener) -> None:
        """Subscribe as soon as `run` reaches Redis. This call does not wait."""
        for channel in channels:
            self._listeners[channel.encode()] = listener
            self._unassigned.add(channel)
        self._has_unassigned.set()

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Find the channel's server and subscribe there. `Listener.subscribed` tells that Redis confirmed it.

        Raises StoreUnavailableError where no server is found.
        """
        self._listeners[channel.encode()] = listener
        await self._assign(channel)

    def begin(self, channel: str, listener: Listener) -> bool:
        """Like `subscribe`, where the channel's server is known already. Returns whether it is."""
        (node,) = self._store.servers([channel])
        if not isinstance(node, Node):
            return False
        self._listeners[channel.encode()] = listener
        self._assign_to(node, channel)
        return True

    def unsubscribe(self, channel: str) -> None:
        self._listeners.pop(channel.encode(), None)
        self._unassigned.discard(channel)
        subscriber = self._assigned.pop(channel, None)
        if subscriber is not None:
            subscriber.unsubscribe(channel)

    async def run(self) -> None:
        """Assign every channel without a node to one, for ever."""
        failing = False
        while True:
            await self._has_unassigned.wait()
            await asyncio.sleep(_RETRY_SECONDS if failing else _GATHER_SECONDS)
            self._has_unassigned.clear()
            try:
                for channel in list(self._unassigned):
                    await self._assign(channel)
                failing = False
            except StoreUnavailableError as error:
                if not failing:
                    _logger.warning("channels_unserved", error=str(error), channels=len(self._unassigned))
                failing = True
                self._has_unassigned.set()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _assign(self, channel: str) -> None:
        node = await self._store.node(channel)
        self._unassigned.discard(channel)
        # It may have been unsubscribed meanwhile.
        if channel.encode() in self._listeners:
            self._assign_to(node, channel)

    def _assign_to(self, node: Node, channel: str) -> None:
        subscriber = self._assigned[channel] = self._subscribers.get(node) or self._new_subscriber(node)
        subscriber.subscribe(channel)

    def _new_subscriber(self, node: Node) -> Subscriber:
        subscriber = self._subscribers[node] = Subscriber(node, self._events)
        task = asyncio.create_task(self._run(subscriber))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return subscriber

    async def _run(self, subscriber: Subscriber) -> None:
        await subscriber.run()
        del self._subscribers[subscriber.node]

    # The events of a subscriber

    def published(self, messages: list[tuple[bytes, bytes]]) -> None:
        touched: dict[Listener, None] = {}
        for channel, payload in messages:
            listener = self._listeners.get(channel)
            if listener is not None:
                listener.published(payload)
                touched[listener] = None
        for listener in touched:
            listener.batch_end()

    def _subscribed(self, channel: str) -> None:
        listener = self._listeners.get(channel.encode())
        if listener is not None:
            listener.subscribed()

    def _moved(self, subscriber: Subscriber, channels: Iterable[str], error: MovedError | None) -> None:
        if error is not None:
            self._store.topology.moved(subscriber.node, error)
        for channel in list(channels):
            subscriber.channels.discard(channel)
            if self._assigned.get(channel) is subscriber:
                del self._assigned[channel]
                self._unassigned.add(channel)
                self._has_unassigned.set()

    async def _lost(self, subscriber: Subscriber) -> None:
        for channel in subscriber.channels:
            if (listener := self._listeners.get(channel.encode())) is not None:
                listener.interrupted()
        try:
            await self._store.topology.refresh()
            elsewhere = [
                channel
                for channel in list(subscriber.channels)
                if await self._store.node(channel) is not subscriber.node
            ]
        except StoreUnavailableError:
            return
        self._moved(subscriber, elsewhere, None)
