"""A proxy between browsers and a server. A test can cut and restore it, and point it to another server."""

import asyncio
import re
import threading
from contextlib import suppress

from tests.support.forwarder import READ_BYTES, Connection, Forwarder

_STREAM = re.compile(rb"GET /sessions/[^/ ]+/events")


class BrowserProxy(Forwarder["_Connection"]):
    streams_opened = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def streams(self) -> int:
        """The number of connections that carry an event stream."""
        return sum(connection.is_stream for connection in list(self.connections))

    def connect(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> "_Connection":
        return _Connection(self, client, server)

    def reset(self) -> None:
        """Reset every connection. New connections are accepted."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(self._reset, done)
        assert done.wait(10)

    def cut(self) -> None:
        """Reset every connection, and each new connection until `restore`."""
        self.is_cut = True
        self.reset()

    def restore(self) -> None:
        self.is_cut = False

    def _reset(self, done: threading.Event) -> None:
        for connection in list(self.connections):
            connection.reset()
        done.set()


class _Connection(Connection):
    def __init__(self, proxy: BrowserProxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        super().__init__(client, server)
        self.is_stream = False
        self._proxy = proxy

    async def upward(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                # Each request starts a packet, since a browser waits for the answer to its previous request.
                self.is_stream = _STREAM.match(data) is not None
                self._proxy.streams_opened += self.is_stream
                self.server.write(data)
        self.reset()

    async def downward(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                self.client.write(data)
        # A reset would discard bytes that have not arrived yet.
        self.client.close()
        self.server.close()
