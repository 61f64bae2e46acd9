"""A network of the test's own between midsentence and Redis, which drops what it is told to and says nothing."""

import asyncio
import random
import threading
from contextlib import suppress
from typing import Any, Self

import hiredis

READ_BYTES = 1 << 16


class Proxy:
    """Forwards TCP on a port of its own to Redis, in a thread with its own loop."""

    def __init__(self, port: int, *, loss: float = 0, seed: int = 0) -> None:
        """`loss` is the part of the published messages that never arrive."""
        self.port = 0
        self.target = port
        self.lost = self.delivered = 0
        self._loss = loss
        self._chance = random.Random(seed)
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def freeze_subscriptions(self) -> int:
        """Drop all packets of the connections that are subscribed now, both ways. How many they are."""
        frozen = [connection for connection in list(self._connections) if connection.subscribed]
        for connection in frozen:
            connection.frozen = True
        return len(frozen)

    @property
    def subscribed(self) -> int:
        """How many connections that are not frozen are subscribed."""
        return sum(connection.subscribed and not connection.frozen for connection in list(self._connections))

    def is_lost(self) -> bool:
        lost = self._chance.random() < self._loss
        self.lost += lost
        self.delivered += not lost
        return lost

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0.05)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        connection = Connection(self, writer, back)
        self._connections.add(connection)
        try:
            await asyncio.gather(connection.upward(reader), connection.downward(there))
        finally:
            self._connections.discard(connection)
            connection.close()


class Connection:
    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, redis: asyncio.StreamWriter) -> None:
        self.frozen = self.subscribed = False
        self._proxy = proxy
        self._client = client
        self._redis = redis
        self._replies = hiredis.Reader()

    async def upward(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                self.subscribed = self.subscribed or b"SSUBSCRIBE" in data
                if not self.frozen:
                    self._redis.write(data)
        # A frozen connection's end does not arrive either.
        if not self.frozen:
            self.close()

    async def downward(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if not self.frozen:
                    self._client.write(self._thinned(data) if self.subscribed else data)
        if not self.frozen:
            self.close()

    def close(self) -> None:
        self._client.close()
        self._redis.close()

    def _thinned(self, data: bytes) -> bytes:
        """What is left of the messages. All that a subscribed connection hears are lists of strings and numbers."""
        self._replies.feed(data)
        left = b""
        while (reply := self._replies.gets()) is not False:
            if not (isinstance(reply, list) and reply[0] == b"smessage" and self._proxy.is_lost()):
                left += encoded(reply)  # pyright: ignore[reportUnknownArgumentType]
        return left


def encoded(reply: Any) -> bytes:
    match reply:
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(encoded, reply))  # pyright: ignore[reportUnknownArgumentType]
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(reply), reply)
        case _:
            return b"$-1\r\n"
