"""What a request or a stream used is freed when it ends, by reference counts alone.

The server's garbage collector is tuned to run rarely, since a full pass over ten thousand sessions would stop every
stream. So objects that hold each other in a circle would stay, and each would keep a session's text in memory.
"""

import asyncio
import contextlib
import gc
import json
import socket
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

import pytest
import uvloop
from starlette.types import Message, Scope

from midsentence.errors import StoreUnavailableError
from midsentence.log import SessionLog
from midsentence.store.subscriptions import Subscriptions
from midsentence_server import stop_waiter
from midsentence_server.relay import deadlines, feed, hub
from midsentence_server.relay.single_flight import SingleFlight
from tests.support.uvicorn_server import Server, serving
from tests.support.waiting import eventually

ROUNDS = 5
TEXT_BYTES = 20_000
# What a round may leave: the timers that asyncio and redis-py cancelled, which stay in the loop's heap until they are
# due. A feed would leave more than its text.
LEFT_BYTES = 5_000

# asyncio's own transport is a circle: a connection to Redis that is closed meanwhile leaves these.
CLOSED_TRANSPORT = (
    "builtins.dict",
    "builtins.method",
    "socket.socket",
    "asyncio.trsock.TransportSocket",
    "asyncio.selector_events._SelectorSocketTransport",
)

Round = Callable[[Server], Awaitable[None]]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(deadlines, "LINGER_SECONDS", 0.02)
    monkeypatch.setattr(deadlines, "_MIN_TICK_SECONDS", 0.01)
    monkeypatch.setattr(feed, "_RETRY_SECONDS", 0.02)


@contextlib.asynccontextmanager
async def collector_off() -> AsyncGenerator[None]:
    """Fails where anything is left that only the garbage collector finds."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        found = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        for name in CLOSED_TRANSPORT:
            found[name] -= found[CLOSED_TRANSPORT[-1]]
        found = +found
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found, f"left to the collector after {ROUNDS} rounds: {dict(found)}"


async def unsubscribed(server: Server) -> bool:
    return await server.fixture.subscriptions() == 0


def census() -> Counter[str]:
    """Count the living objects of the application by their types."""
    names = (f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    return Counter(name for name in names if name.startswith(("midsentence", "starlette", "uvicorn")))


async def repeated(server: Server, visit: Round) -> None:
    """Fails where rounds leave anything, held by something or not."""

    async def once() -> None:
        await visit(server)
        await eventually(lambda: not server.fixture.feeds and not server.state.tasks, description="the feed is dropped")
        await eventually(lambda: unsubscribed(server), description="Redis counts no subscription")

    # The first rounds fill caches.
    for _ in range(2):
        await once()
    async with collector_off():
        tracemalloc.start()
        try:
            await once()
            counts, (size, _) = census(), tracemalloc.get_traced_memory()
            for _ in range(ROUNDS):
                await once()
            left, grown = census() - counts, tracemalloc.get_traced_memory()[0] - size
        finally:
            tracemalloc.stop()
    assert not left, f"still held after {ROUNDS} rounds: {dict(left)}"
    assert grown / ROUNDS <= LEFT_BYTES, f"{grown / ROUNDS:.0f} bytes are left by each round"


async def reader_leaves(server: Server) -> None:
    (await server.stream()).lose()


async def reader_is_stuck(server: Server) -> None:
    socket = await server.stream()
    socket.fill()
    await eventually(lambda: socket.aborted, description="the reader was cut")
    socket.lose()


async def reader_is_cut_while_paused(server: Server) -> None:
    socket = await server.stream()
    socket.fill()
    socket.lose()


async def server_drains(server: Server) -> None:
    socket = await server.stream()
    server.fixture.services.hub.drain()
    assert socket.closed
    socket.lose()
    server.fixture.services.hub.draining = False


async def client_leaves_before_its_stream(server: Server) -> None:
    socket = server.connect()
    socket.closed = True
    await eventually(lambda: not server.state.tasks, description="the request is over")
    socket.lose()


async def another_request_waits_behind_the_stream(server: Server) -> None:
    (await server.stream(rest=server.request("/healthz"))).lose()


async def session_is_unknown(server: Server) -> None:
    (await server.exchange(server.request(f"/sessions/00{'B' * 22}/events"), 404)).lose()


async def session_id_is_malformed(server: Server) -> None:
    (await server.exchange(server.request("/sessions/nonsense/events"), 404)).lose()


async def session_belongs_to_another(server: Server) -> None:
    path = f"/sessions/{server.fixture.session_id}/events?share=guessed"
    (await server.exchange(server.request(path), 404)).lose()


async def cursor_is_unknown(server: Server) -> None:
    (await server.stream("Last-Event-ID: 9.1-7\r\n")).lose()


async def request_is_refused(server: Server) -> None:
    (await server.exchange(server.request("/sessions", method="POST", body=b"{"), 400)).lose()
    (await server.exchange(server.request("/sessions", method="PUT", body=b"{}"), 405)).lose()


async def connection_is_reused(server: Server) -> None:
    socket = await server.exchange(server.request("/healthz"), 200)
    socket.protocol.data_received(server.request("/sessions/nonsense"))
    await eventually(lambda: socket.written.count(b"HTTP/1.1 ") == 2, description="the second answer")
    await eventually(lambda: not server.state.tasks, description="the request is over")
    socket.lose()


async def turn_is_stopped_and_does_not_end(server: Server) -> None:
    request = server.request(f"/sessions/{server.fixture.session_id}/stop", method="POST", body=b"{}")
    (await server.exchange(request, 202)).lose()


async def log_cannot_be_read(server: Server) -> None:
    with failing(SessionLog, "read"):
        (await server.exchange(server.request(f"/sessions/{server.fixture.session_id}/events"), 503)).lose()


async def log_cannot_be_read_by_many(server: Server) -> None:
    with failing(SessionLog, "read"):
        sockets = [server.connect() for _ in range(3)]
        await eventually(lambda: not server.state.tasks, description="all were answered")
    for each in sockets:
        assert each.written.startswith(b"HTTP/1.1 503 ")
        each.lose()


async def log_fails_under_a_stream(server: Server) -> None:
    socket = await server.stream()
    with failing(SessionLog, "read"):
        server.fixture.feeds[0].refresh()
        await asyncio.sleep(0.03)
    socket.lose()


def unknown(_subscriptions: Subscriptions, _channel: str, _listener: object) -> bool:
    """The server of the channel's slot must be found first."""
    return False


async def channel_cannot_be_subscribed(server: Server) -> None:
    with failing(Subscriptions, "subscribe"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subscriptions, "begin", unknown)
        (await server.exchange(server.request(f"/sessions/{server.fixture.session_id}/events"), 503)).lose()


async def requests_are_cancelled(server: Server) -> None:
    socket = server.connect()
    await asyncio.sleep(0)
    for task in list(server.state.tasks):
        task.cancel()
    await eventually(lambda: not server.state.tasks, description="the request is over")
    socket.lose()


@contextlib.contextmanager
def failing(owner: type, name: str) -> Any:
    async def unavailable(*_arguments: object, **_options: object) -> None:
        await asyncio.sleep(0)
        raise StoreUnavailableError("away")

    original = getattr(owner, name)
    setattr(owner, name, unavailable)
    try:
        yield
    finally:
        setattr(owner, name, original)


ROUNDS_OF_A_CONNECTION = [
    reader_leaves,
    reader_is_stuck,
    reader_is_cut_while_paused,
    server_drains,
    client_leaves_before_its_stream,
    another_request_waits_behind_the_stream,
    session_is_unknown,
    session_id_is_malformed,
    session_belongs_to_another,
    cursor_is_unknown,
    request_is_refused,
    connection_is_reused,
    turn_is_stopped_and_does_not_end,
    log_cannot_be_read,
    log_cannot_be_read_by_many,
    log_fails_under_a_stream,
    channel_cannot_be_subscribed,
    requests_are_cancelled,
]


@pytest.mark.anyio
@pytest.mark.parametrize("visit", ROUNDS_OF_A_CONNECTION, ids=lambda visit: visit.__name__)
async def test_a_connection_leaves_nothing(visit: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_waiter, "_WAIT_SECONDS", 0.05)
    async with serving(stuck_reader_seconds=0.05) as server:
        await server.fixture.write("x" * TEXT_BYTES)
        await repeated(server, visit)


@pytest.mark.anyio
async def test_a_read_that_is_cancelled_before_it_begins_leaves_nothing() -> None:
    async with collector_off():
        flight = SingleFlight(asyncio.get_running_loop())
        flight.start(nothing_is_read)
        flight.close()
        await asyncio.sleep(0.01)
        del flight


async def nothing_is_read(_cursors: set[bytes]) -> None:
    raise AssertionError("it was cancelled")


@pytest.mark.anyio
async def test_a_deleted_session_leaves_nothing() -> None:
    async with serving() as server:

        async def visit(server: Server) -> None:
            socket = await server.exchange(server.request("/sessions", method="POST", body=b'{"text": "Hi"}'), 202)
            session_id = json.loads(socket.written.partition(b"\r\n\r\n")[2])["session_id"]
            reader = server.send(server.request(f"/sessions/{session_id}/events"))
            await eventually(lambda: b"event: state" in reader.written, description="the stream began")
            deleted = await server.exchange(server.request(f"/sessions/{session_id}", method="DELETE"), 204)
            await eventually(lambda: reader.closed, description="the reader was closed")
            for each in (socket, reader, deleted):
                each.lose()

        await visit(server)
        async with collector_off():
            for _ in range(ROUNDS):
                await visit(server)
            await eventually(lambda: not server.fixture.feeds, description="the feeds are dropped")


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["leaves", "is stuck", "is cancelled"])
async def test_a_stream_through_asgi_leaves_nothing(end: str) -> None:
    async def visit(server: Server) -> None:
        sent: list[Message] = []
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        takes = asyncio.Event()
        takes.set()

        async def send(message: Message) -> None:
            await takes.wait()
            sent.append(message)

        path = f"/sessions/{server.fixture.session_id}/events"
        headers = [(b"host", b"midsentence.test"), (b"cookie", b"midsentence=" + server.fixture.cookie.encode())]
        scope: Scope = {"type": "http", "method": "GET", "scheme": "http", "path": path}
        scope |= {"query_string": b"", "headers": headers}
        task = asyncio.create_task(cast("Any", server.fixture.app(scope, incoming.get, send)))
        await eventually(lambda: len(sent) == 2, description="the stream began")
        if end == "leaves":
            incoming.put_nowait({"type": "http.disconnect"})
        elif end == "is stuck":
            takes.clear()
            server.fixture.feeds[0].followers.copy().pop().ping()
        else:
            task.cancel()
        await asyncio.wait([task])

    async with serving(stuck_reader_seconds=0.05) as server:
        await server.fixture.write("x" * TEXT_BYTES)
        await repeated(server, visit)


def test_a_real_connection_leaves_nothing() -> None:
    """On uvloop. (asyncio's own transport holds itself, and leaves itself to the collector.)"""

    async def visit(server: Server, address: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        for path, answer in ((f"/sessions/{server.fixture.session_id}/events", b"event: state"), ("/x", b" 404 ")):
            client = socket.socket()
            client.setblocking(False)
            await loop.sock_connect(client, address)
            await loop.sock_sendall(client, server.request(path))
            received = b""
            while answer not in received:
                piece = await loop.sock_recv(client, 65536)
                assert piece, received
                received += piece
            client.close()
        await eventually(lambda: not server.state.connections, description="the connections are gone")

    async def main() -> None:
        async with serving() as server:
            await server.fixture.write("x" * TEXT_BYTES)
            listening = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0)
            address = listening.sockets[0].getsockname()
            await repeated(server, lambda server: visit(server, address))
            listening.close()
            await listening.wait_closed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
