"""Requests and replies on one connection: each reply reaches its caller, and a broken connection fails them all."""

import asyncio
from typing import Any, cast

import pytest
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from midsentence.store.pipeline import Pipeline
from midsentence.store.resp import RespConnection
from midsentence.store.subscriber import Subscriber
from tests.support.memory_socket import MemorySocket

pytestmark = pytest.mark.anyio


@pytest.fixture
def socket() -> MemorySocket:
    return MemorySocket()


@pytest.fixture
async def pipeline(socket: MemorySocket) -> Pipeline:
    return Pipeline(socket)


async def test_a_channel_is_unsubscribed_without_error_while_its_connection_breaks(socket: MemorySocket) -> None:
    """A long run of `scripts/chaos` found it, as a 500 to a reader."""
    lost: list[Exception] = []
    subscriber = Subscriber(cast("Any", None), cast("Any", FakeEvents()))
    subscriber._connection = RespConnection(socket, lambda _: None, lost.append)  # pyright: ignore[reportPrivateUsage]
    socket.closed = True
    subscriber.subscribe("ms:{0}:live")
    subscriber.unsubscribe("ms:{0}:live")
    assert subscriber.channels == set()
    assert [type(error) for error in lost] == [RedisConnectionError]


class FakeEvents:
    published = None


async def sent(pipeline: Pipeline, *counts: int) -> list[asyncio.Task[list[Any]]]:
    tasks = [asyncio.create_task(pipeline.exchange(b"?" * count, count)) for count in counts]
    await asyncio.sleep(0)
    return tasks


async def test_no_requests_get_no_replies_and_block_no_caller(pipeline: Pipeline, socket: MemorySocket) -> None:
    assert await asyncio.wait_for(pipeline.exchange(b"", 0), 1) == []
    (next_one,) = await sent(pipeline, 1)
    socket.deliver(b":1\r\n")
    assert await asyncio.wait_for(next_one, 1) == [1]


async def test_each_caller_gets_its_replies_however_they_are_split(pipeline: Pipeline, socket: MemorySocket) -> None:
    first, second = await sent(pipeline, 2, 1)
    for byte in b":1\r\n-ERR no\r\n*2\r\n$2\r\nok\r\n:7\r\n":
        assert not second.done()
        socket.deliver(bytes([byte]))
    one, error = await first
    assert (one, str(error)) == (1, "no")
    assert await second == [[b"ok", 7]]
    assert socket.written == [b"??", b"?"]


@pytest.mark.parametrize(
    "received", [None, b"-LOADING the dataset\r\n", b"what is this?\r\n"], ids=["lost", "loading", "garbage"]
)
async def test_a_broken_connection_fails_all_callers(
    pipeline: Pipeline, socket: MemorySocket, received: bytes | None
) -> None:
    waiting = await sent(pipeline, 1, 1)
    if received is None:
        socket.lose(ConnectionResetError("reset"))
    else:
        socket.deliver(received)
    assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] in (
        [RedisConnectionError] * 2,
        [BusyLoadingError] * 2,
    )
    assert (pipeline.is_open, socket.closed) == (False, True)


async def test_the_replies_of_a_cancelled_caller_do_not_reach_the_next(
    pipeline: Pipeline, socket: MemorySocket
) -> None:
    """Nor do the others lose their connection, for example when a turn is stopped while it reads the log."""
    cancelled, next_one = await sent(pipeline, 2, 1)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    socket.deliver(b":1\r\n:2\r\n:3\r\n")
    assert await next_one == [3]
    assert (pipeline.is_open, socket.closed) == (True, False)


async def test_nothing_is_written_to_a_connection_that_is_closing(pipeline: Pipeline, socket: MemorySocket) -> None:
    socket.closed = True
    with pytest.raises(RedisConnectionError):
        await pipeline.exchange(b"?", 1)
    assert (pipeline.is_open, socket.written) == (False, [])


async def test_a_lost_connection_fails_a_new_caller_at_once(pipeline: Pipeline, socket: MemorySocket) -> None:
    socket.lose(ConnectionResetError("reset"))
    with pytest.raises(RedisConnectionError):
        async with asyncio.timeout(1):
            await pipeline.exchange(b"?", 1)


async def test_a_reply_without_a_request_ends_the_connection(pipeline: Pipeline, socket: MemorySocket) -> None:
    socket.deliver(b":1\r\n")
    assert pipeline.is_open is False


async def test_request_that_redis_cannot_read_fails_alone(pipeline: Pipeline, socket: MemorySocket) -> None:
    """A string may be longer than proto-max-bulk-len. Sent again, it would end each connection for all callers."""
    first, second = await sent(pipeline, 3, 1)
    socket.deliver(b":1\r\n-ERR Protocol error: invalid bulk length\r\n")
    replies = await first
    assert replies[0] == 1
    assert [type(reply) for reply in replies[1:]] == [ResponseError, RedisConnectionError]
    with pytest.raises(RedisConnectionError):
        await second
    assert not pipeline.is_open
