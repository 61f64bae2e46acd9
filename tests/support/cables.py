"""The network between browsers and a server, which a test can cut, mend, and lead to another server."""

import asyncio
import re
import threading
from contextlib import suppress
from typing import Final, Self

_READ_BYTES: Final = 1 << 16
_STREAM: Final = re.compile(rb"GET /sessions/[^/ ]+/events")


class Cable:
    """Forwards TCP on a port of its own, in a thread with its own loop."""

    def __init__(self, target: int) -> None:
        """`target` is the port to which new connections lead. It may be changed at any time."""
        self.target = target
        self.port = 0
        self.streams_opened = 0
        self._is_cut = False
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def streams(self) -> int:
        """How many connections carry an event stream now."""
        return sum(connection.is_stream for connection in list(self._connections))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def shake(self) -> None:
        """Reset every connection. New ones are let through."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._reset, done)
        assert done.wait(10)

    def cut(self) -> None:
        """Reset every connection, and each that is tried from now on."""
        self._is_cut = True
        self.shake()

    def mend(self) -> None:
        self._is_cut = False

    def _reset(self, done: threading.Event) -> None:
        for connection in list(self._connections):
            connection.reset()
        done.set()

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
        # One that was taken just now is heard of only after a while.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection in list(self._connections):
                connection.reset()
            await asyncio.wait(tasks, timeout=0.1)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self, writer, back)
        self._connections.add(connection)
        try:
            await asyncio.gather(connection.upward(reader), connection.downward(there))
        finally:
            self._connections.discard(connection)
            connection.reset()


class _Connection:
    def __init__(self, cable: Cable, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.is_stream = False
        self._cable = cable
        self._client = client
        self._server = server

    async def upward(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                # A browser's request begins with a packet, and its next one waits for the answer.
                self.is_stream = _STREAM.match(data) is not None
                self._cable.streams_opened += self.is_stream
                self._server.write(data)
        self.reset()

    async def downward(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                self._client.write(data)
        # What was sent last is still to arrive.
        self._client.close()
        self._server.close()

    def reset(self) -> None:
        self._client.transport.abort()
        self._server.transport.abort()
