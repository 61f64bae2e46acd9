"""Where a stream's bytes go: straight into the connection, or through ASGI's `send` where the server gives no more."""

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from starlette.types import Receive, Send

from midsentence_server.relay.feed import Burst, chunk
from midsentence_server.relay.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

_LAST_CHUNK = b"0\r\n\r\n"

_logger = structlog.get_logger()


class SocketOutlet(asyncio.Protocol):
    """The rest of a connection's life, after a request that is answered by a stream.

    It costs its reader no task: what is written here is on its way when `write` returns, and the operating system's
    "full", "empty" and "gone" are calls.
    """

    __slots__ = ("_head", "_lost", "_reader", "_stuck", "_stuck_seconds", "_transport", "_unsent", "is_busy")

    def __init__(self, reader: Reader, stuck_seconds: float) -> None:
        self.is_busy = False
        self._reader = reader
        self._stuck_seconds = stuck_seconds
        self._transport: asyncio.Transport
        self._lost: Callable[[SocketOutlet], None]
        self._stuck: asyncio.TimerHandle | None = None
        self._unsent = 0

    def inherit(self, transport: asyncio.Transport, head: bytes, lost: "Callable[[SocketOutlet], None]") -> None:
        """Take a connection over and the response's head with it; `lost` is told when it is gone."""
        self._transport = transport
        self._head = head
        self._lost = lost
        transport.set_protocol(self)

    def send(self, burst: Burst) -> None:
        self._transport.write(burst.chunk)

    def write(self, wire: bytes) -> None:
        if wire:
            # With the head in front of the first: each write is a call of the operating system.
            head, self._head = self._head, b""
            self._transport.write(head + chunk(wire))

    def close(self, last: bytes) -> None:
        self._transport.write((chunk(last) if last else b"") + _LAST_CHUNK)
        # Closes when all is sent, which may be never.
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._watch()

    def shutdown(self) -> None:
        """A server that stops says this (uvicorn); the hub has told the reader already."""

    # asyncio.Protocol

    def pause_writing(self) -> None:
        self.is_busy = True
        self._watch()

    def resume_writing(self) -> None:
        self.is_busy = False
        self._unwatch()
        self._reader.wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it is gone either way
        self._unwatch()
        self._reader.leave()
        self._lost(self)
        # They hold each other.
        del self._reader

    def _watch(self) -> None:
        if self._stuck is None:
            self._unsent = self._transport.get_write_buffer_size()
            self._stuck = asyncio.get_running_loop().call_later(self._stuck_seconds, self._look)

    def _unwatch(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _look(self) -> None:
        """Drop a reader who took nothing all this time: its buffer would be held for ever."""
        self._stuck = None
        if self._transport.get_write_buffer_size() < self._unsent:
            self._watch()
        else:
            _logger.info("stuck_reader_cut")
            self._transport.abort()


class AsgiOutlet:
    def __init__(self, reader: Reader, stuck_seconds: float) -> None:
        self.is_busy = False
        self._reader = reader
        self._stuck_seconds = stuck_seconds
        self._waiting: list[bytes] = []
        self._closed = False
        self._news = asyncio.Event()

    def send(self, burst: Burst) -> None:
        self.write(burst.wire)

    def write(self, wire: bytes) -> None:
        if wire:
            self._waiting.append(wire)
            # One at a time: until it is taken, what comes is left with the feed.
            self.is_busy = True
            self._news.set()

    def close(self, last: bytes) -> None:
        self._waiting.append(last)
        self._closed = True
        self._news.set()

    async def run(self, receive: Receive, send: Send) -> None:
        """Pass on what is written until the stream is closed or the client leaves or takes nothing."""
        leaving = asyncio.create_task(_disconnected(receive))
        leaving.add_done_callback(self._left)
        try:
            while not leaving.done():
                await self._news.wait()
                self._news.clear()
                wire = b"".join(self._waiting)
                self._waiting.clear()
                # The server waits here while the socket takes nothing.
                async with asyncio.timeout(self._stuck_seconds):
                    await send({"type": "http.response.body", "body": wire, "more_body": not self._closed})
                if self._closed:
                    return
                self.is_busy = False
                self._reader.wake()
        except TimeoutError:
            _logger.info("stuck_reader_cut")
        finally:
            leaving.cancel()
            self._reader.leave()

    def _left(self, _leaving: "asyncio.Task[Any]") -> None:
        self._news.set()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
