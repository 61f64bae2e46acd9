"""The application behind uvicorn's protocol, on fake sockets whose buffers and ends a test controls."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from midsentence_server.relay.uvicorn_takeover import TakeoverProtocol
from tests.support.app_fixture import AppFixture, app_fixture
from tests.support.waiting import eventually


class Socket(asyncio.Transport):
    """A socket that uvicorn writes to. A test fills and empties its buffer, and closes it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.protocol: Any = None
        self.writes: list[bytes] = []
        self.unsent = 0
        self.closed = self.aborted = False

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def fill(self, unsent: int = 100_000) -> None:
        self.unsent = unsent
        self.protocol.pause_writing()

    def empty(self) -> None:
        self.unsent = 0
        self.protocol.resume_writing()

    def lose(self) -> None:
        self.closed = True
        # An event loop's transport drops its protocol too.
        protocol, self.protocol = self.protocol, None
        protocol.connection_lost(None)

    # asyncio.Transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Server:
    """The part of uvicorn between a socket and the application."""

    def __init__(self, fixture: AppFixture, protocol: type[asyncio.Protocol]) -> None:
        self.fixture = fixture
        self.state = ServerState()
        self._protocol: Any = protocol
        self._config = uvicorn.Config(fixture.app, http=protocol, access_log=False)
        self._config.load()

    def protocol(self) -> asyncio.Protocol:
        return self._protocol(self._config, self.state, {})

    def send(self, request: bytes) -> Socket:
        """Open a connection and send a request."""
        socket = Socket()
        socket.protocol = self.protocol()
        socket.protocol.connection_made(socket)
        socket.protocol.data_received(request)
        return socket

    def request(self, path: str, headers: str = "", *, method: str = "GET", body: bytes = b"") -> bytes:
        cookie = f"Cookie: midsentence={self.fixture.cookie}\r\n"
        if body:
            headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{cookie}{headers}\r\n".encode() + body

    async def exchange(self, request: bytes, status: int) -> Socket:
        socket = self.send(request)
        await eventually(lambda: not self.state.tasks, description="the request is over")
        assert socket.written.startswith(b"HTTP/1.1 %d " % status), socket.written
        return socket

    def connect(self, headers: str = "", rest: bytes = b"") -> Socket:
        return self.send(self.request(f"/sessions/{self.fixture.session_id}/events", headers) + rest)

    async def stream(self, headers: str = "", rest: bytes = b"") -> Socket:
        socket = self.connect(headers, rest)
        await eventually(lambda: b"event: state" in socket.written, description="the stream began")
        # The request's task has ended: no task writes the rest of the stream.
        await eventually(lambda: not self.state.tasks, description="no task is left")
        return socket


@asynccontextmanager
async def serving(protocol: type[asyncio.Protocol] = TakeoverProtocol, **settings: object) -> AsyncGenerator[Server]:
    async with app_fixture(**settings) as fixture:
        yield Server(fixture, protocol)
