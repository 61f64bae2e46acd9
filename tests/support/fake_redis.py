"""fakeredis behind a TCP port, so that the code under test connects to it by URL."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
from redis.exceptions import ResponseError

from tests.support.listener import stop_listening


class _Client(asyncio.Protocol):
    def __init__(self, server: fakeredis.FakeServer, clients: set["_Client"]) -> None:
        # Any, since fakeredis is partly untyped.
        self._fake: Any = fakeredis.FakeRedisConnection(server=server, protocol=2)
        self._transport: Any = None
        # From now on, so that `fake_redis` also waits for a connection that is accepted but not made.
        self._clients = clients
        clients.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._clients.discard(self)
        self._fake.disconnect()

    def data_received(self, data: bytes) -> None:
        self._fake.get_socket().sendall(data)
        # A command of one client may publish to the others.
        for client in [*self._clients]:
            client.flush()

    def flush(self) -> None:
        while self._fake.can_read():
            try:
                reply = self._fake.read_response()
            except ResponseError as error:
                reply = error
            self._transport.write(encode(reply))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def encode(reply: Any) -> bytes:
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list() | tuple():
            items: list[bytes] = [encode(item) for item in reply]  # pyright: ignore[reportUnknownVariableType]
            return b"*%d\r\n%b" % (len(items), b"".join(items))
        case ResponseError():
            return b"-%b %b\r\n" % ((reply.status_code or "ERR").encode(), str(reply).encode())
        case _:
            raise TypeError(f"a reply of type {type(reply)}")


@asynccontextmanager
async def fake_redis() -> AsyncGenerator[str]:
    """Run a Redis in memory in this event loop, and yield its URL."""
    clients: set[_Client] = set()
    fake = fakeredis.FakeServer(server_type="valkey")
    server = await asyncio.get_running_loop().create_server(lambda: _Client(fake, clients), "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await stop_listening(server)
        # Before Python 3.12, `wait_closed` does not wait for the connections.
        while clients:
            for client in [*clients]:
                client.close()
            await asyncio.sleep(0)
        await server.wait_closed()
