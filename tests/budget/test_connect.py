"""The cost of a request in the server, from its bytes to the answer's, in calls of functions."""

import types
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

import hiredis
import pytest
import uvicorn
from itsdangerous import Signer
from uvicorn.server import ServerState

from midsentence.ids import new_session_id
from midsentence.settings import Settings
from midsentence.store.node import Node
from midsentence.store.scripts import SCRIPTS
from midsentence.store.store import Store
from midsentence.store.topology import Single
from midsentence_server.app import create_app
from midsentence_server.relay.uvicorn_takeover import TakeoverProtocol
from tests.support.call_counter import count_calls
from tests.support.fake_redis import encode
from tests.support.memory_socket import MemorySocket
from tests.support.uvicorn_server import Socket
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

REQUESTS = 20
# What the test does, and what uvloop does in C.
WITHOUT = (
    __name__, "asyncio.base_events", "asyncio.events", "asyncio.selector_events", "asyncio.transports", "selectors",
    "tests.support.fake_redis", "tests.support.memory_socket", "tests.support.uvicorn_server",
)  # fmt: skip
# Iterations of the event loop in which a request is answered.
LOOPS = 20
SECRET = "a secret of the tests alone"
COOKIE = f"Cookie: midsentence={Signer(SECRET, salt='midsentence.owner').sign('ann').decode()}"
# What EventSource sends, as Chromium does.
HEADERS = (
    "Host: midsentence.test", "Connection: keep-alive", "Cache-Control: no-cache", "User-Agent: Mozilla/5.0 (X11)",
    "Accept: text/event-stream", "Sec-Fetch-Site: same-origin", "Referer: http://midsentence.test/",
    "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-US,en;q=0.9", COOKIE,
)  # fmt: skip
# Calls of Python and C functions for a stream of a session that no other reader of the server follows, for one more
# stream of a session, and for a first message.
BUDGET_OWN, BUDGET_SHARED, BUDGET_MESSAGE = 505, 240, 545

MESSAGE = b'{"role":"user","text":"Go on.","turn":1,"parent":0}'
# What read.lua replies for a session whose first turn waits.
VIEW = [
    b"ann", b"chat", None, b"queued", b"1", b"1.0-0", b"Go on.", None, [],
    b"snapshot", [], [[b"1000-0", [b"message", MESSAGE]]], [],
]  # fmt: skip
# By the digest of the script. The look at Redis finds nothing.
REPLIES: dict[str, list[Any]] = {SCRIPTS["read"].digest: VIEW, SCRIPTS["probe"].digest: []}


def answer(requests: bytes) -> bytes:
    """What a Redis replies."""
    reader: Any = hiredis.Reader()
    reader.feed(requests)
    replies: list[bytes] = []
    while words := reader.gets():
        match words[0]:
            case b"SSUBSCRIBE":
                replies.append(encode([b"ssubscribe", words[1], 1]))
            case b"EVALSHA":
                replies.append(encode(REPLIES.get(words[1].decode(), [b"ok", 1])))
            case _:
                replies.append(encode(1))
    return b"".join(replies)


async def connect() -> MemorySocket:
    return MemorySocket(answer)


@types.coroutine
def next_iteration() -> Generator[None]:
    """As asyncio.sleep(0), without calls that are counted."""
    yield


class AcceptedSocket(Socket):
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else super().get_extra_info(name, default)

    def fileno(self) -> int:
        return 9

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 2


class Server:
    """uvicorn's connections and the application, on a Redis in memory that replies at once."""

    def __init__(self, app: Any, app_state: dict[str, Any]) -> None:
        self._app_state = app_state
        self._config = uvicorn.Config(app, http=TakeoverProtocol, access_log=False)
        self._config.load()
        self._state = ServerState()

    def send(self, line: str, *headers: str, body: bytes = b"") -> Socket:
        socket = AcceptedSocket()
        socket.protocol = TakeoverProtocol(self._config, self._state, self._app_state)
        socket.protocol.connection_made(socket)
        head = "\r\n".join([line, *HEADERS, *headers, "", ""])
        socket.protocol.data_received(head.encode() + body)
        return socket

    async def answered(self, line: str, *headers: str, body: bytes = b"") -> Socket:
        socket = self.send(line, *headers, body=body)
        for _ in range(LOOPS):
            await next_iteration()
        assert not self._state.tasks
        return socket


@asynccontextmanager
async def serving() -> AsyncGenerator[Server]:
    settings = Settings.model_validate({"redis_url": "redis://127.0.0.1:1", "secret": SECRET})
    store = Store(settings)
    store.topology = Single(Node(connect, "memory", 1))
    app = create_app(settings, store)
    async with app.router.lifespan_context(app) as state:
        yield Server(app, dict(state or {}))


async def calls_of_streams(paths: list[str]) -> float:
    """Calls for a stream after the first: the median, since garbage of other tests may be finalized meanwhile."""
    async with serving() as server:
        first, *others = paths
        socket = await server.answered(f"GET {first} HTTP/1.1")
        await eventually(lambda: b"event: state" in socket.written, description="the stream began")
        counts: list[int] = []
        for path in others:
            with count_calls(without=WITHOUT) as calls:
                socket = await server.answered(f"GET {path} HTTP/1.1")
            counts.append(calls.count)
            assert b"event: snapshot" in socket.written
            assert len(socket.writes) == 1
        return median(counts)


def events_of(session_id: str) -> str:
    return f"/sessions/{session_id}/events"


async def test_stream_of_a_session_of_its_own_stays_within_its_budget_of_calls() -> None:
    paths = [events_of(new_session_id(16)) for _ in range(REQUESTS + 1)]
    assert await calls_of_streams(paths) <= BUDGET_OWN


async def test_further_stream_of_a_session_stays_within_its_budget_of_calls() -> None:
    paths = [events_of(new_session_id(16))] * (REQUESTS + 1)
    assert await calls_of_streams(paths) <= BUDGET_SHARED


async def test_message_stays_within_its_budget_of_calls() -> None:
    body = b'{"text": "Go on."}'
    headers = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Origin: http://midsentence.test")
    async with serving() as server:
        await server.answered("POST /sessions HTTP/1.1", *headers, body=body)
        counts: list[int] = []
        for _ in range(REQUESTS):
            with count_calls(without=WITHOUT) as calls:
                socket = await server.answered("POST /sessions HTTP/1.1", *headers, body=body)
            counts.append(calls.count)
            assert socket.written.startswith(b"HTTP/1.1 202 ")
    assert median(counts) <= BUDGET_MESSAGE
