"""Requests and replies on one connection: whose is whose, and what a connection that breaks means to all who wait."""

import asyncio
from typing import Any, cast

import pytest
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from midsentence.store.ear import SocketEar
from midsentence.store.pipeline import SocketPipe
from midsentence.store.subscriber import Line

pytestmark = pytest.mark.anyio


class Socket(asyncio.Transport):
    """A transport whose other end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Any] = []
        self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.heard = cast("asyncio.Protocol", protocol).data_received
        self.lost = cast("asyncio.Protocol", protocol).connection_lost

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: Any) -> None:
        if self.closed:
            # uvloop's word for it.
            raise RuntimeError("the handler is closed")
        self.written.append(data)

    def abort(self) -> None:
        self.closed = True


class Connection:
    def __init__(self, transport: Socket) -> None:
        self._parser = self._writer = self
        self.transport = transport

    def parse_error(self, reply: str) -> Exception:
        return BusyLoadingError(reply) if reply.startswith("LOADING") else ResponseError(reply)


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
async def pipe(socket: Socket) -> SocketPipe:
    return SocketPipe(Connection(socket))


async def test_who_leaves_a_line_that_is_being_dropped_meets_no_error(socket: Socket) -> None:
    """Found by a long run of `scripts/chaos`, as a 500 to a reader; seen red without `is_closing` in `Wire.write`."""
    line = Line(cast("Any", None), cast("Any", None))
    listening = line._ear = SocketEar(Connection(socket), lambda _: None)  # pyright: ignore[reportPrivateUsage]
    socket.closed = True
    line.join("ms:{0}:live")
    line.leave("ms:{0}:live")
    assert line.channels == set()
    assert isinstance(await listening.lost, RedisConnectionError)


async def asked(pipe: SocketPipe, *counts: int) -> list[asyncio.Task[list[Any]]]:
    tasks = [asyncio.create_task(pipe.exchange(b"?" * count, count)) for count in counts]
    await asyncio.sleep(0)
    return tasks


async def test_replies_are_given_to_whoever_asked_however_they_are_cut(pipe: SocketPipe, socket: Socket) -> None:
    first, second = await asked(pipe, 2, 1)
    for byte in b":1\r\n-ERR no\r\n*2\r\n$2\r\nok\r\n:7\r\n":
        assert not second.done()
        socket.heard(bytes([byte]))
    one, error = await first
    assert (one, str(error)) == (1, "ERR no")
    assert await second == [[b"ok", 7]]
    assert socket.written == [b"??", b"?"]


@pytest.mark.parametrize(
    "heard", [None, b"-LOADING the dataset\r\n", b"what is this?\r\n"], ids=["lost", "loading", "garbage"]
)
async def test_a_connection_that_breaks_fails_all_who_wait(
    pipe: SocketPipe, socket: Socket, heard: bytes | None
) -> None:
    waiting = await asked(pipe, 1, 1)
    if heard is None:
        socket.lost(ConnectionResetError("reset"))
    else:
        socket.heard(heard)
    assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] in (
        [RedisConnectionError] * 2,
        [BusyLoadingError] * 2,
    )
    assert (pipe.is_open, socket.closed) == (False, True)


async def test_whoever_gives_up_waiting_leaves_no_reply_to_the_next(pipe: SocketPipe, socket: Socket) -> None:
    """Nor does it cost the others their connection: a turn that is stopped while it reads the log is nobody's fault."""
    impatient, next_one = await asked(pipe, 2, 1)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    socket.heard(b":1\r\n:2\r\n:3\r\n")
    assert await next_one == [3]
    assert (pipe.is_open, socket.closed) == (True, False)


async def test_nothing_is_written_to_a_connection_that_is_closing(pipe: SocketPipe, socket: Socket) -> None:
    socket.closed = True
    with pytest.raises(RedisConnectionError):
        await pipe.exchange(b"?", 1)
    assert (pipe.is_open, socket.written) == (False, [])


async def test_a_reply_that_nobody_asked_for_ends_the_connection(pipe: SocketPipe, socket: Socket) -> None:
    socket.heard(b":1\r\n")
    assert pipe.is_open is False
