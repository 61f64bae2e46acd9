"""Where a stream's bytes go: into the connection's socket, or through ASGI's `send` where the server offers no more."""

import asyncio
from typing import Any, NamedTuple

import structlog
from starlette.types import Receive, Send

from midsentence_server.relay.burst import Burst, chunk
from midsentence_server.relay.reader import Reader

_LAST_CHUNK = b"0\r\n\r\n"

_logger = structlog.get_logger()


class SocketSink:
    """Writes a chunked response into a connection.

    It needs no task: the bytes are on their way when `write` returns.
    """

    __slots__ = ("_head", "_stuck", "_stuck_seconds", "_transport", "_unsent", "is_busy")

    def __init__(self, transport: asyncio.Transport, head: bytes, stuck_seconds: float) -> None:
        """`head`: the response's status line and headers, which go out with the first bytes."""
        self.is_busy = False
        self._transport = transport
        self._head = head
        self._stuck_seconds = stuck_seconds
        self._stuck: asyncio.TimerHandle | None = None
        self._unsent = 0

    def send(self, burst: Burst) -> None:
        self._transport.write(burst.chunk)

    def write(self, wire: bytes) -> None:
        if wire:
            # Together, since each write is a system call.
            head, self._head = self._head, b""
            self._transport.write(head + chunk(wire))

    def close(self, last: bytes) -> None:
        self._transport.write((chunk(last) if last else b"") + _LAST_CHUNK)
        # Closes when everything is sent, which may be never.
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._watch()

    def pause(self) -> None:
        """The socket's buffer is full."""
        self.is_busy = True
        self._watch()

    def resume(self) -> None:
        self.is_busy = False
        self.release()

    def release(self) -> None:
        """Stop the timer."""
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _watch(self) -> None:
        if self._stuck is None:
            self._unsent = self._transport.get_write_buffer_size()
            self._stuck = asyncio.get_running_loop().call_later(self._stuck_seconds, self._check_progress)

    def _check_progress(self) -> None:
        """Cut a reader that took nothing all this time: its buffer would be held for ever."""
        self._stuck = None
        if self._transport.get_write_buffer_size() < self._unsent:
            self._watch()
        else:
            _logger.info("stuck_reader_cut")
            self._transport.abort()


class StreamProtocol(asyncio.Protocol):
    """The connection's protocol once its request is answered by a stream; the bytes that a client sends are dropped.

    The connection holds this object, which holds the reader, which holds the sink, which holds the connection. The
    event loop breaks this circle when the connection is lost, so nothing here has to.
    """

    __slots__ = ("_connections", "_reader", "_sink")

    def __init__(self, reader: Reader, sink: SocketSink, connections: set[Any]) -> None:
        """`connections`: those that the server's shutdown waits for."""
        self._reader = reader
        self._sink = sink
        self._connections = connections

    def pause_writing(self) -> None:
        self._sink.pause()

    def resume_writing(self) -> None:
        self._sink.resume()
        self._reader.wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nothing depends on the reason
        self._sink.release()
        self._reader.leave()
        self._connections.discard(self)

    def shutdown(self) -> None:
        """Called by uvicorn at a shutdown; by then the hub has closed the stream."""


class TakenConnection(NamedTuple):
    """A connection that the server gave away, with the head of the response that it still owes."""

    transport: asyncio.Transport
    head: bytes
    connections: set[Any]

    def hand_to(self, protocol: StreamProtocol) -> None:
        self.connections.add(protocol)
        self.transport.set_protocol(protocol)


class AsgiSink:
    def __init__(self, stuck_seconds: float) -> None:
        self.is_busy = False
        self._stuck_seconds = stuck_seconds
        self._pending: list[bytes] = []
        self._closed = False
        self._changed = asyncio.Event()

    def send(self, burst: Burst) -> None:
        self.write(burst.wire)

    def write(self, wire: bytes) -> None:
        if wire:
            self._pending.append(wire)
            # One write at a time: until it is sent, later frames wait in the feed.
            self.is_busy = True
            self._changed.set()

    def close(self, last: bytes) -> None:
        self._pending.append(last)
        self._closed = True
        self._changed.set()

    async def run(self, reader: Reader, receive: Receive, send: Send) -> None:
        """Send what the reader writes until the stream is closed, or the client leaves or takes nothing."""
        leaving = asyncio.create_task(_disconnected(receive))
        leaving.add_done_callback(self._left)
        try:
            while not leaving.done():
                await self._changed.wait()
                self._changed.clear()
                wire = b"".join(self._pending)
                self._pending.clear()
                # The server blocks here while the socket is full.
                async with asyncio.timeout(self._stuck_seconds):
                    await send({"type": "http.response.body", "body": wire, "more_body": not self._closed})
                if self._closed:
                    return
                self.is_busy = False
                reader.wake()
        except TimeoutError:
            _logger.info("stuck_reader_cut")
        finally:
            leaving.cancel()
            reader.leave()

    def _left(self, _leaving: "asyncio.Task[Any]") -> None:
        self._changed.set()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
