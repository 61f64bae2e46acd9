"""A stream on a connection that it took over from uvicorn."""

import asyncio
from typing import cast

import pytest

from tests.support.app_fixture import STUCK_SECONDS
from tests.support.uvicorn_server import Socket, serving
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

PAGE = "x" * 1000


async def writes(socket: Socket, count: int) -> None:
    await eventually(lambda: len(socket.writes) >= count, description=f"{count} writes")


async def test_a_stream_begins_with_one_write_and_leaves_no_task() -> None:
    async with serving() as server:
        socket = await server.stream()
        assert len(socket.writes) == 1
        head, _, body = socket.writes[0].partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert lines[0] == b"http/1.1 200 ok"
        assert {b"content-type: text/event-stream; charset=utf-8", b"transfer-encoding: chunked"} <= set(lines)
        assert b"connection: close" in lines
        size, _, rest = body.partition(b"\r\n")
        assert rest.startswith(b": midsentence\nretry: ")
        assert rest[int(size, 16) :] == b"\r\n", "one chunk, whole"
        assert server.state.connections == {socket.protocol}, "a shutdown waits for it"


async def test_each_event_is_one_write_and_the_same_bytes_for_all() -> None:
    async with serving() as server:
        sockets = [await server.stream() for _ in range(3)]
        await server.fixture.write("one")
        for socket in sockets:
            await writes(socket, 2)
        first = sockets[0].writes[1]
        assert all(socket.writes[1] is first for socket in sockets), "encoded once"
        assert b'"one"' in first
        assert not server.state.tasks


async def test_a_full_socket_gets_nothing_and_then_all_in_one_write() -> None:
    async with serving(stuck_reader_seconds=5) as server:
        full, other = await server.stream(), await server.stream()
        full.fill()
        for number in range(5):
            await server.fixture.write(f"<{number}>")
        await eventually(lambda: b"<4>" in other.written, description="the other reader has all")
        assert len(full.writes) == 1
        full.empty()
        assert len(full.writes) == 2
        assert full.writes[1].count(b"event: delta") == 5
        assert not full.aborted


async def test_a_stuck_socket_is_aborted_and_a_slow_one_is_not() -> None:
    """`SocketSink._check_progress` tells them apart."""
    async with serving() as server:
        stuck, slow = await server.stream(), await server.stream()
        began = asyncio.get_running_loop().time()
        for socket in (stuck, slow):
            socket.fill()
        while not stuck.aborted:
            assert asyncio.get_running_loop().time() - began < STUCK_SECONDS * 10, "it is never dropped"
            slow.unsent -= 1
            await asyncio.sleep(STUCK_SECONDS / 4)
        assert asyncio.get_running_loop().time() - began >= STUCK_SECONDS
        assert not slow.aborted
        stuck.lose()
        assert server.fixture.reader_count() == 1


async def test_a_closed_socket_that_is_stuck_is_aborted() -> None:
    async with serving() as server:
        socket = await server.stream()
        socket.unsent = 10
        server.fixture.services.hub.drain()
        assert (socket.closed, socket.aborted) == (True, False)
        await eventually(lambda: socket.aborted, description="it was dropped")


async def test_a_reader_that_leaves_is_removed() -> None:
    async with serving() as server:
        socket = await server.stream()
        assert server.fixture.reader_count() == 1
        socket.lose()
        assert (server.fixture.reader_count(), server.state.connections) == (0, set())
        count = len(socket.writes)
        await server.fixture.write("to nobody")
        await eventually(
            lambda: not server.fixture.feeds or server.fixture.feeds[0].top != b"", description="it was received"
        )
        assert len(socket.writes) == count


async def test_a_closed_connection_is_not_taken_over() -> None:
    async with serving() as server:
        socket = server.connect()
        socket.closed = True
        await eventually(lambda: not server.state.tasks, description="the request is over")
        assert (socket.writes, server.fixture.reader_count()) == ([], 0)


async def test_a_drained_stream_ends_with_a_retry_and_the_last_chunk() -> None:
    async with serving() as server:
        socket = await server.stream()
        server.fixture.services.hub.drain()
        assert socket.writes[-1].endswith(b"\r\n0\r\n\r\n")
        assert b"\r\nretry: " in socket.writes[-1]
        assert (socket.closed, socket.aborted) == (True, False)
        assert server.fixture.reader_count() == 0


async def test_a_silent_stream_pings() -> None:
    async with serving(ping_seconds=0.05) as server:
        socket = await server.stream()
        await eventually(lambda: socket.written.count(b"event: ping\ndata: {}\n\n") >= 3, description="three pings")


async def test_a_pipelined_request_is_not_answered_into_a_stream() -> None:
    """RFC 9112, 9.3.2: answers come in the order of the requests, and this one has no end."""
    async with serving() as server:
        socket = await server.stream(rest=b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        cast("asyncio.Protocol", socket.protocol).data_received(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.fixture.write(PAGE)
        await writes(socket, 2)
        assert socket.written.count(b"HTTP/1.1 ") == 1
