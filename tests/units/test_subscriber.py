"""A subscription that is lost is made again, with pauses that grow, and is reported once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from midsentence.store import subscriber as module
from midsentence.store.node import Node
from midsentence.store.subscriber import Events, Subscriber
from tests.support.memory_socket import MemorySocket

pytestmark = pytest.mark.anyio

NOPERM = b"-NOPERM No permissions to access a channel\r\n"
UNKNOWN = b"-ERR unknown command 'SSUBSCRIBE'\r\n"
CONFIRMED = b"*3\r\n$10\r\nssubscribe\r\n$3\r\none\r\n:1\r\n"
CONFIRMED_TWO = CONFIRMED.replace(b"one", b"two")
TEN_MINUTES = 600.0


class Outage:
    """A Redis in memory that gives `reply` to the nth connection's subscriptions. Pauses pass at once."""

    def __init__(self, reply: Callable[[int], bytes], *, lasts: float = TEN_MINUTES) -> None:
        self.sockets: list[MemorySocket] = []
        self.pauses: list[float] = []
        self._reply = reply
        self._lasts = lasts
        self.over = asyncio.Event()

    async def connect(self) -> MemorySocket:
        number = len(self.sockets)
        self.sockets.append(MemorySocket(lambda _: self._reply(number)))
        return self.sockets[-1]

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if sum(self.pauses) >= self._lasts:
            self.over.set()
            await asyncio.Event().wait()

    async def lines(self, channels: str = "one") -> Counter[str]:
        """Subscribe until the outage is over. Returns how often each event was logged."""

        async def lost(_: Subscriber) -> None:
            pass

        def ignore(*_: Any) -> None:
            pass

        node = Node(self.connect, "memory", 1)
        subscriber = Subscriber(node, Events(ignore, ignore, ignore, lost), sleep=self.sleep)
        for channel in channels.split():
            subscriber.subscribe(channel)
        with capture_logs() as logs:
            running = asyncio.create_task(subscriber.run())
            await asyncio.wait_for(self.over.wait(), 30)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await node.aclose()
        return Counter(line["event"] for line in logs)


@pytest.mark.parametrize("reply", [NOPERM, UNKNOWN], ids=["noperm", "unknown"])
async def test_a_refused_subscription_is_tried_again_with_growing_pauses(reply: bytes) -> None:
    """A connection that opens is no success: a reset then would try, and log, dozens of times a second."""
    outage = Outage(lambda _: reply)
    lines = await outage.lines()
    assert outage.pauses == sorted(outage.pauses)
    assert outage.pauses[-1] == 5
    assert len(outage.sockets) <= TEN_MINUTES / 5 + 5
    assert lines == {"subscription_lost": TEN_MINUTES // 60}


async def test_one_refused_channel_of_many_is_no_success() -> None:
    outage = Outage(lambda _: CONFIRMED + NOPERM)
    assert await outage.lines("one two") == {"subscription_lost": TEN_MINUTES // 60}
    assert len(outage.sockets) <= TEN_MINUTES / 5 + 5


async def test_a_subscription_that_is_lost_again_and_again_is_reported_once_a_minute() -> None:
    """Redis confirms, and closes the connection at once: by a limit of output buffers, for example."""
    outage = Outage(lambda _: CONFIRMED + b"-ERR closing\r\n")
    lines = await outage.lines()
    assert lines == {"subscription_lost": TEN_MINUTES // 60, "subscription_restored": TEN_MINUTES // 60}
    assert len(outage.sockets) <= TEN_MINUTES / 5 + 5


async def test_a_loss_and_its_end_are_each_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that lasted is tried again at once when it is lost."""
    monkeypatch.setattr(module, "_STABLE_SECONDS", 0)
    replies = {0: NOPERM, 1: NOPERM, 2: CONFIRMED + b"-ERR closing\r\n"}
    outage = Outage(lambda number: replies.get(number, NOPERM), lasts=5)
    lines = await outage.lines()
    assert outage.pauses[:3] == [0.25, 0.5, 0.25]
    assert lines == {"subscription_lost": 2, "subscription_restored": 1}
