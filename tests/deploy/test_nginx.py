"""What nginx does between readers and servers, shown with the production configuration and servers of a few lines."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import pytest

from tests.support.nginx import nginx

pytestmark = [pytest.mark.needs_nginx, pytest.mark.anyio]

STREAMS = [
    ("GET", "/sessions/00abc/events?last_event_id=1.1-3"),
    ("GET", "/push?param=hello"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/responses/resp_1?stream=true&starting_after=4"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/api/chat"),
    ("GET", "/api/chat/00abc/stream"),
]


@dataclass
class Request:
    method: str
    target: str
    version: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def ok(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")


async def ok_and_close(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    writer.close()


async def die(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@dataclass
class StandIn:
    """A server that keeps what it was asked and does with it what its test says."""

    answer: Answer = ok
    requests: list[Request] = field(default_factory=list[Request])
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                request = await read_request(reader)
                self.requests.append(request)
                await self.answer(request, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, version = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, version, headers, body)


class Stream:
    """An event stream that says one event, and the next only when its test releases it."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, _: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Without chunks, since a proxy that buffers may still hand on a chunk at once.
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n")
        writer.write(b"Connection: close\r\n\r\ndata: one\n\n")
        reading = asyncio.create_task(reader.read())
        reading.add_done_callback(lambda _: self.left.set())
        await asyncio.wait([reading, asyncio.create_task(self.released.wait())], return_when=asyncio.FIRST_COMPLETED)
        writer.write(b"data: two\n\n")
        writer.close()
        await reading


@asynccontextmanager
async def listening(*stand_ins: StandIn) -> AsyncGenerator[list[tuple[str, int]], None]:
    servers = [await asyncio.start_server(stand_in.serve, "127.0.0.1", 0) for stand_in in stand_ins]
    try:
        yield [server.sockets[0].getsockname() for server in servers]
    finally:
        for server in servers:
            server.close()


@contextmanager
def refusing() -> Generator[tuple[str, int], None, None]:
    """Yield an address that nobody listens on and that nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()


@asynccontextmanager
async def behind(
    directory: Path, *stand_ins: StandIn, trusted_proxy: str = "192.0.2.1"
) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with listening(*stand_ins) as addresses:
        with nginx(addresses, directory, trusted_proxy=trusted_proxy) as url:
            async with httpx.AsyncClient(base_url=url, timeout=10) as client:
                yield client


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(("method", "route"), STREAMS)
async def test_an_event_arrives_while_the_response_is_open(method: str, route: str, tmp_path: Path) -> None:
    """No buffer and no gzip stands between the server's write and the reader, whatever the reader would take."""
    stream = Stream()
    async with (
        behind(tmp_path, StandIn(stream)) as client,
        client.stream(method, route, headers={"Accept-Encoding": "gzip"}) as answer,
    ):
        assert "content-encoding" not in answer.headers
        assert answer.headers["x-accel-buffering"] == "no"
        events = answer.aiter_raw()
        assert await anext(events) == b"data: one\n\n"
        stream.released.set()
        assert await anext(events) == b"data: two\n\n"


async def test_a_server_notices_that_its_reader_left(tmp_path: Path) -> None:
    stream = Stream()
    async with behind(tmp_path, StandIn(stream)) as client:
        async with client.stream("GET", "/sessions/00abc/events") as answer:
            await anext(answer.aiter_raw())
        with anyio.fail_after(5):
            await stream.left.wait()


async def test_requests_go_to_every_server(tmp_path: Path) -> None:
    pair = [StandIn(), StandIn()]
    async with behind(tmp_path, *pair) as client:
        for _ in range(6):
            await client.get("/sessions/00abc")
    assert [len(server.requests) for server in pair] == [3, 3]


async def test_a_request_goes_to_the_server_with_fewer_open_streams(tmp_path: Path) -> None:
    """Turn by turn, a server that was restarted would stay emptier than its twin for hours."""
    stream = Stream()

    async def some_of_both(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (stream if request.target.endswith("/events") else ok)(request, reader, writer)

    pair = [StandIn(some_of_both), StandIn(some_of_both)]
    async with behind(tmp_path, *pair) as client, client.stream("GET", "/sessions/00abc/events"):
        for _ in range(4):
            await client.get("/sessions/00abc")
        assert sorted(len(server.requests) for server in pair) == [1, 4]


async def test_connections_to_a_server_are_reused(tmp_path: Path) -> None:
    server = StandIn()
    async with behind(tmp_path, server) as client:
        for _ in range(5):
            await client.get("/sessions/00abc")
    assert (1, {"HTTP/1.1"}) == (server.connections, {request.version for request in server.requests})


@pytest.mark.parametrize(
    ("method", "route"), [("GET", "/"), ("POST", "/sessions"), ("DELETE", "/sessions/00abc"), *STREAMS]
)
async def test_a_server_that_refuses_connections_is_skipped(method: str, route: str, tmp_path: Path) -> None:
    """Nothing was sent to it, so this holds for what must not be sent twice, too."""
    living = StandIn()
    async with listening(living) as addresses:
        with refusing() as dead, nginx([dead, *addresses], tmp_path) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                answers = [await client.request(method, route) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(living.requests) == 4


async def test_a_restarted_server_is_used_at_once(tmp_path: Path) -> None:
    """In a rolling restart the second server goes as soon as the first is back; one of them must always answer."""
    first = await asyncio.start_server(StandIn(ok_and_close).serve, "127.0.0.1", 0)
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        with nginx([first.sockets[0].getsockname(), away.getsockname()], tmp_path) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                before = [(await client.get("/sessions")).status_code for _ in range(4)]
                first.close()
                back = await asyncio.start_server(StandIn().serve, sock=away)
                after = (await client.get("/sessions")).status_code
                back.close()
    assert (before, after) == ([200] * 4, 200)


async def test_a_get_is_retried_elsewhere_when_its_server_dies(tmp_path: Path) -> None:
    answers = [die, ok]

    async def the_first_dies(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(request, reader, writer)

    pair = [StandIn(the_first_dies), StandIn(the_first_dies)]
    async with behind(tmp_path, *pair) as client:
        answer = await client.get("/sessions/00abc")
    assert answer.status_code == 200
    assert [len(server.requests) for server in pair] == [1, 1]


@pytest.mark.parametrize(
    ("method", "route"), [("POST", "/sessions"), ("POST", "/v1/responses"), ("GET", "/push?param=hello")]
)
async def test_a_request_that_calls_the_model_is_never_retried(method: str, route: str, tmp_path: Path) -> None:
    """The server that died may have asked already; only the client can know whether asking again is harmless."""
    pair = [StandIn(die), StandIn(die)]
    async with behind(tmp_path, *pair) as client:
        answer = await client.request(method, route, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 502
    assert sum(len(server.requests) for server in pair) == 1


async def test_a_body_of_the_allowed_size_reaches_the_server_whole(tmp_path: Path) -> None:
    server = StandIn()
    body = b"x" * 2**20
    async with behind(tmp_path, server) as client:
        await client.post("/sessions", content=body)
    assert [request.body for request in server.requests] == [body]


async def test_a_larger_body_is_refused_with_the_protocols_error(tmp_path: Path) -> None:
    """Rule 2.1 holds for nginx, too."""
    server = StandIn()
    async with behind(tmp_path, server) as client:
        answer = await client.post("/sessions", content=b"x" * (2**20 + 1))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/json")
    assert answer.json()["error"] == {
        "code": "body_too_large",
        "message": "The body may have 1048576 bytes at the most.",
    }
    assert server.requests == []


async def test_the_server_gets_the_host_with_its_port_and_the_clients_address(tmp_path: Path) -> None:
    server = StandIn()
    async with behind(tmp_path, server) as client:
        await client.get("/")
        host = client.base_url.netloc.decode()
    [request] = server.requests
    told = {name: request.headers[name] for name in ("host", "x-forwarded-for", "x-forwarded-proto")}
    assert {"host": host, "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http"} == told


@pytest.mark.parametrize(
    ("trusted_proxy", "told"), [("192.0.2.1", ("127.0.0.1", "http")), ("127.0.0.0/8", ("198.51.100.7", "https"))]
)
async def test_only_a_trusted_proxy_can_name_the_clients_address(
    trusted_proxy: str, told: tuple[str, str], tmp_path: Path
) -> None:
    server = StandIn()
    headers = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}
    async with behind(tmp_path, server, trusted_proxy=trusted_proxy) as client:
        await client.get("/", headers=headers)
    [request] = server.requests
    assert told == (request.headers["x-forwarded-for"], request.headers["x-forwarded-proto"])


async def test_no_log_holds_a_visitors_question(tmp_path: Path) -> None:
    async with behind(tmp_path, StandIn()) as client:
        answer = await client.get("/push", params={"param": "confidential"})
    log = (tmp_path / "nginx.log").read_text()
    assert '"path":"/push","status":200' in log
    assert "confidential" not in log
    assert answer.headers["server"] == "nginx"
