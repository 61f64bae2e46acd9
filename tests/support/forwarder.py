"""A TCP forwarder in a thread with its own event loop. A subclass decides which data is forwarded."""

import asyncio
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Generic, Self, TypeVar

from tests.support.listener import stop_listening

READ_BYTES = 1 << 16


class Connection(ABC):
    """A client's connection and the connection to the target that was opened for it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server

    @abstractmethod
    async def upward(self, reader: asyncio.StreamReader) -> None:
        """Forward what the client sends."""

    @abstractmethod
    async def downward(self, reader: asyncio.StreamReader) -> None:
        """Forward what the target sends."""

    def reset(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


C = TypeVar("C", bound=Connection)


class Forwarder(ABC, Generic[C]):
    def __init__(self, target: int) -> None:
        """`target` is the port that new connections are forwarded to. It may be changed at any time."""
        self.target = target
        self.port = 0
        self.is_cut = False
        self.connections: set[C] = set()
        self.loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @abstractmethod
    def connect(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> C: ...

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        await stop_listening(server)
        # A connection that was accepted just now is not in the set yet.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection in list(self.connections):
                connection.reset()
            await asyncio.wait(tasks, timeout=0.1)

    async def _connected(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            if not self.is_cut:
                await self._forward(reader, client)
        finally:
            await _abort(client)

    async def _forward(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            there, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return
        connection = self.connect(client, server)
        self.connections.add(connection)
        try:
            await asyncio.gather(connection.upward(reader), connection.downward(there))
        finally:
            self.connections.discard(connection)
            await _abort(server)


async def _abort(writer: asyncio.StreamWriter) -> None:
    """Close the socket before the loop ends. Otherwise the garbage collector warns about an open socket."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
