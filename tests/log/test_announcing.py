"""The announcement of an append: its frames where readers can take them as they are, else only that there is more."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from midsentence.events import Delta, encode
from midsentence.ids import EventId
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog, Write, Written
from midsentence.store.store import Store
from midsentence.store.subscriptions import Subscriptions
from tests.log.conftest import with_sentinel
from tests.support.keys import KEYS

pytestmark = pytest.mark.anyio


class Queue:
    """A listener that keeps the messages."""

    def __init__(self) -> None:
        self.is_confirmed = asyncio.Event()
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()

    def subscribed(self) -> None:
        self.is_confirmed.set()

    def interrupted(self) -> None: ...

    def batch_end(self) -> None: ...

    def published(self, payload: bytes) -> None:
        self._messages.put_nowait(payload)

    async def next(self) -> bytes:
        async with asyncio.timeout(5):
            return await self._messages.get()


@asynccontextmanager
async def subscribed(store: Store, session_id: str) -> AsyncGenerator[Callable[[], Awaitable[bytes]]]:
    """Subscribe to a session's channel; yields a function that waits for its next message."""
    subscriptions, queue = Subscriptions(store), Queue()
    await subscriptions.subscribe(KEYS.session(session_id).live, queue)
    async with asyncio.timeout(5):
        await queue.is_confirmed.wait()
    try:
        yield queue.next
    finally:
        await subscriptions.aclose()


def delta(text: str) -> tuple[str, bytes]:
    return Delta.type, Delta(text).encoded()


def frame(epoch: int, seq: int, text: str) -> bytes:
    return encode(EventId(1, epoch, seq), *delta(text))


async def claimed(jobs: Jobs, worker: str) -> Claim:
    (claim,) = await jobs.claim(worker, "demo", 1)
    return claim


@with_sentinel
async def test_an_append_is_published_with_its_frames_and_the_id_before_them(
    log: SessionLog, jobs: Jobs, store: Store
) -> None:
    """The entry before may be another attempt's, whose id the worker does not know."""
    session_id, _ = await log.start("ann", "hello")
    lease = (await claimed(jobs, "w1")).lease
    async with subscribed(store, session_id) as message:
        await log.write([Write(lease, 1, [delta("a"), delta("b")])])
        assert await message() == b"1.0-0 1.1-2 -\n" + frame(1, 1, "a") + frame(1, 2, "b")
        await log.write([Write(lease, 3, [delta("c")])])
        assert await message() == b"1.1-2 1.1-3 -\n" + frame(1, 3, "c")
        await jobs.release(lease, counts=False)
        assert await message() == b"1.1-3 1.1-3 s\n"
        lease = (await claimed(jobs, "w2")).lease
        assert await message() == b"1.1-3 1.1-3 s\n"
        await log.write([Write(lease, 4, [delta("d")])])
        assert await message() == b"1.1-3 1.2-4 -\n" + frame(2, 4, "d")


async def test_a_partly_repeated_append_publishes_no_frames(log: SessionLog, jobs: Jobs, store: Store) -> None:
    """Its first frames are events that readers have already."""
    session_id, _ = await log.start("ann", "hello")
    lease = (await claimed(jobs, "w1")).lease
    await log.write([Write(lease, 1, [delta("a")])])
    async with subscribed(store, session_id) as message:
        await log.write([Write(lease, 1, [delta("a"), delta("b")])])
        assert await message() == b"1.1-2 1.1-2 -\n"
        assert await log.write([Write(lease, 1, [delta("a")])]) == [Written("ok", 2)]
        await log.write([Write(lease, 3, [delta("c")])])
        assert await message() == b"1.1-2 1.1-3 -\n" + frame(1, 3, "c")


async def test_an_append_is_stored_unchanged(log: SessionLog, jobs: Jobs) -> None:
    texts = ["", "\n\r\n", "\u2028 你好 \x00", "id: 1.1-9\n\nevent: end", "x" * 100_000]
    session_id, _ = await log.start("ann", "hello")
    lease = (await claimed(jobs, "w1")).lease
    await log.write([Write(lease, 1, [delta(text) for text in texts])])
    view = await log.read(session_id, EventId(1, 0, 0))
    assert [(event.type, event.data) for event in view.events] == [delta(text) for text in texts]


async def test_a_mark_without_events_is_stored_and_not_published(log: SessionLog, jobs: Jobs, store: Store) -> None:
    session_id, _ = await log.start("ann", "hello")
    lease = (await claimed(jobs, "w1")).lease
    async with subscribed(store, session_id) as message:
        for first, events, mark in ((1, [], "here"), (1, [delta("a")], ""), (2, [], "there")):
            assert await log.write([Write(lease, first, events, None, mark)]) == [
                Written("ok", first - 1 + len(events))
            ]
        await log.write([Write(lease, 2, [delta("b")])])
        assert await message() == b"1.0-0 1.1-1 -\n" + frame(1, 1, "a")
        assert await message() == b"1.1-1 1.1-2 -\n" + frame(1, 2, "b")
    await jobs.release(lease, counts=False)
    assert (await claimed(jobs, "w2")).mark == "there"
