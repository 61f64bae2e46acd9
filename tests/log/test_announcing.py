"""What readers are told of an append: its frames where they can be taken as they are, else only that there is more."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from midsentence import keys
from midsentence.events import Delta, encode
from midsentence.ids import EventId
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog, Write, Written
from midsentence.store.store import Store

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def heard(store: Store, session_id: str) -> AsyncGenerator[Any]:
    """Wait for the next message to the readers of a session."""
    channel = keys.session(session_id).live
    connection = (await store.node(channel)).connection()
    await connection.connect()
    await connection.send_command("SSUBSCRIBE", channel)
    await connection.read_response()

    async def message() -> bytes:
        return (await connection.read_response())[2]

    try:
        yield message
    finally:
        await connection.disconnect(nowait=True)


def delta(text: str) -> tuple[str, bytes]:
    return Delta.type, Delta(text).encoded()


def frame(epoch: int, seq: int, text: str) -> bytes:
    return encode(EventId(1, epoch, seq), *delta(text))


async def claimed(jobs: Jobs, worker: str) -> Claim:
    (claim,) = await jobs.claim(worker, "demo", 1)
    return claim


async def test_an_append_is_told_with_its_frames_behind_the_entry_that_the_log_ended_with(
    log: SessionLog, jobs: Jobs, store: Store
) -> None:
    """The entry before is another attempt's at first, which the worker cannot name."""
    session_id, _ = await log.start("ann", "hello")
    lease = (await claimed(jobs, "w1")).lease
    async with heard(store, session_id) as message:
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


async def test_an_append_that_is_partly_there_already_only_wakes_readers(
    log: SessionLog, jobs: Jobs, store: Store
) -> None:
    """Its frames begin with what they have."""
    session_id, _ = await log.start("ann", "hello")
    lease = (await claimed(jobs, "w1")).lease
    await log.write([Write(lease, 1, [delta("a")])])
    async with heard(store, session_id) as message:
        await log.write([Write(lease, 1, [delta("a"), delta("b")])])
        assert await message() == b"1.1-2 1.1-2 -\n"
        assert await log.write([Write(lease, 1, [delta("a")])]) == [Written("ok", 2)]
        await log.write([Write(lease, 3, [delta("c")])])
        assert await message() == b"1.1-2 1.1-3 -\n" + frame(1, 3, "c")


async def test_what_is_appended_is_stored_as_it_is_told(log: SessionLog, jobs: Jobs) -> None:
    texts = ["", "\n\r\n", "\u2028 你好 \x00", "id: 1.1-9\n\nevent: end", "x" * 100_000]
    session_id, _ = await log.start("ann", "hello")
    lease = (await claimed(jobs, "w1")).lease
    await log.write([Write(lease, 1, [delta(text) for text in texts])])
    view = await log.read(session_id, EventId(1, 0, 0))
    assert [(event.type, event.data) for event in view.events] == [delta(text) for text in texts]


async def test_a_mark_without_an_event_is_kept_and_told_to_nobody(log: SessionLog, jobs: Jobs, store: Store) -> None:
    session_id, _ = await log.start("ann", "hello")
    lease = (await claimed(jobs, "w1")).lease
    async with heard(store, session_id) as message:
        for first, events, mark in ((1, [], "here"), (1, [delta("a")], ""), (2, [], "there")):
            assert await log.write([Write(lease, first, events, None, mark)]) == [
                Written("ok", first - 1 + len(events))
            ]
        await log.write([Write(lease, 2, [delta("b")])])
        assert await message() == b"1.0-0 1.1-1 -\n" + frame(1, 1, "a")
        assert await message() == b"1.1-1 1.1-2 -\n" + frame(1, 2, "b")
    await jobs.release(lease, counts=False)
    assert (await claimed(jobs, "w2")).mark == "there"
