"""nginx between readers and servers: the production configuration in front of fake servers."""

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
class FakeServer:
    """A server that records its requests and answers them with `answer`."""

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
    """A stream that sends one event, and the next after the test has released it."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, _: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Without chunks, since a buffering proxy may still forward a chunk at once.
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n")
        writer.write(b"Connection: close\r\n\r\ndata: one\n\n")
        reading = asyncio.create_task(reader.read())
        reading.add_done_callback(lambda _: self.left.set())
        await asyncio.wait([reading, asyncio.create_task(self.released.wait())], return_when=asyncio.FIRST_COMPLETED)
        writer.write(b"data: two\n\n")
        writer.close()
        await reading


@asynccontextmanager
async def listening(*servers: FakeServer) -> AsyncGenerator[list[tuple[str, int]], None]:
    listeners = [await asyncio.start_server(server.serve, "127.0.0.1", 0) for server in servers]
    try:
        yield [listener.sockets[0].getsockname() for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


@contextmanager
def refusing_address() -> Generator[tuple[str, int], None, None]:
    """Yield an address at which connections are refused: its port is bound, so no other process can take it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()


@asynccontextmanager
async def client_of(
    directory: Path, *servers: FakeServer, trusted_proxy: str = "192.0.2.1"
) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with listening(*servers) as addresses:
        with nginx(addresses, directory, trusted_proxy=trusted_proxy) as url:
            async with httpx.AsyncClient(base_url=url, timeout=10) as client:
                yield client


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(("method", "route"), STREAMS)
async def test_an_event_arrives_while_the_response_is_open(method: str, route: str, tmp_path: Path) -> None:
    """Nginx neither buffers nor compresses a stream, even if the reader accepts gzip."""
    stream = Stream()
    async with (
        client_of(tmp_path, FakeServer(stream)) as client,
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
    async with client_of(tmp_path, FakeServer(stream)) as client:
        async with client.stream("GET", "/sessions/00abc/events") as answer:
            await anext(answer.aiter_raw())
        with anyio.fail_after(5):
            await stream.left.wait()


async def test_requests_go_to_every_server(tmp_path: Path) -> None:
    pair = [FakeServer(), FakeServer()]
    async with client_of(tmp_path, *pair) as client:
        for _ in range(6):
            await client.get("/sessions/00abc")
    assert [len(server.requests) for server in pair] == [3, 3]


async def test_a_request_goes_to_the_server_with_fewer_open_streams(tmp_path: Path) -> None:
    """With round robin, a restarted server would have fewer streams than the other for hours."""
    stream = Stream()

    async def stream_or_ok(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (stream if request.target.endswith("/events") else ok)(request, reader, writer)

    pair = [FakeServer(stream_or_ok), FakeServer(stream_or_ok)]
    async with client_of(tmp_path, *pair) as client, client.stream("GET", "/sessions/00abc/events"):
        for _ in range(4):
            await client.get("/sessions/00abc")
        assert sorted(len(server.requests) for server in pair) == [1, 4]


async def test_connections_to_a_server_are_reused(tmp_path: Path) -> None:
    server = FakeServer()
    async with client_of(tmp_path, server) as client:
        for _ in range(5):
            await client.get("/sessions/00abc")
    assert (1, {"HTTP/1.1"}) == (server.connections, {request.version for request in server.requests})


@pytest.mark.parametrize(
    ("method", "route"), [("GET", "/"), ("POST", "/sessions"), ("DELETE", "/sessions/00abc"), *STREAMS]
)
async def test_a_server_that_refuses_connections_is_skipped(method: str, route: str, tmp_path: Path) -> None:
    """Nginx has sent nothing to that server, so it can also skip it for requests that must not be repeated."""
    living = FakeServer()
    async with listening(living) as addresses:
        with refusing_address() as dead, nginx([dead, *addresses], tmp_path) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                answers = [await client.request(method, route) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(living.requests) == 4


async def test_a_restarted_server_is_used_at_once(tmp_path: Path) -> None:
    """In a rolling restart, the second server stops as soon as the first is back, and one must always answer."""
    first = await asyncio.start_server(FakeServer(ok_and_close).serve, "127.0.0.1", 0)
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        with nginx([first.sockets[0].getsockname(), away.getsockname()], tmp_path) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                before = [(await client.get("/sessions")).status_code for _ in range(4)]
                first.close()
                back = await asyncio.start_server(FakeServer().serve, sock=away)
                after = (await client.get("/sessions")).status_code
                back.close()
    assert (before, after) == ([200] * 4, 200)


async def test_a_get_is_retried_on_another_server_when_its_server_dies(tmp_path: Path) -> None:
    answers = [die, ok]

    async def first_dies(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(request, reader, writer)

    pair = [FakeServer(first_dies), FakeServer(first_dies)]
    async with client_of(tmp_path, *pair) as client:
        answer = await client.get("/sessions/00abc")
    assert answer.status_code == 200
    assert [len(server.requests) for server in pair] == [1, 1]


@pytest.mark.parametrize(
    ("method", "route"), [("POST", "/sessions"), ("POST", "/v1/responses"), ("GET", "/push?param=hello")]
)
async def test_a_request_that_calls_the_model_is_never_retried(method: str, route: str, tmp_path: Path) -> None:
    """The dead server may have called the model already. Only the client knows whether a retry is harmless."""
    pair = [FakeServer(die), FakeServer(die)]
    async with client_of(tmp_path, *pair) as client:
        answer = await client.request(method, route, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 502
    assert sum(len(server.requests) for server in pair) == 1


async def test_a_body_of_the_allowed_size_reaches_the_server(tmp_path: Path) -> None:
    server = FakeServer()
    body = b"x" * 2**20
    async with client_of(tmp_path, server) as client:
        await client.post("/sessions", content=body)
    assert [request.body for request in server.requests] == [body]


async def test_a_larger_body_is_refused_with_the_protocols_error(tmp_path: Path) -> None:
    """Protocol 2.1 holds for nginx too."""
    server = FakeServer()
    async with client_of(tmp_path, server) as client:
        answer = await client.post("/sessions", content=b"x" * (2**20 + 1))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/json")
    assert answer.json()["error"] == {
        "code": "body_too_large",
        "message": "The body may have 1048576 bytes at the most.",
    }
    assert server.requests == []


async def test_the_server_gets_the_host_with_its_port_and_the_clients_address(tmp_path: Path) -> None:
    server = FakeServer()
    async with client_of(tmp_path, server) as client:
        await client.get("/")
        host = client.base_url.netloc.decode()
    [request] = server.requests
    forwarded = {name: request.headers[name] for name in ("host", "x-forwarded-for", "x-forwarded-proto")}
    assert {"host": host, "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http"} == forwarded


@pytest.mark.parametrize(
    ("trusted_proxy", "expected"), [("192.0.2.1", ("127.0.0.1", "http")), ("127.0.0.0/8", ("198.51.100.7", "https"))]
)
async def test_only_a_trusted_proxy_sets_the_clients_address(
    trusted_proxy: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    server = FakeServer()
    headers = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}
    async with client_of(tmp_path, server, trusted_proxy=trusted_proxy) as client:
        await client.get("/", headers=headers)
    [request] = server.requests
    assert expected == (request.headers["x-forwarded-for"], request.headers["x-forwarded-proto"])


async def test_logs_hold_no_question(tmp_path: Path) -> None:
    async with client_of(tmp_path, FakeServer()) as client:
        answer = await client.get("/push", params={"param": "confidential"})
    log = (tmp_path / "nginx.log").read_text()
    assert '"path":"/push","status":200' in log
    assert "confidential" not in log
    assert answer.headers["server"] == "nginx"
