"""An HTTP client for many readers in one process: one connection per request, and little work per chunk."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, cast

from httptools import HttpParserError, HttpResponseParser

CONNECT_SECONDS = 2.0


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"http://{self.host}:{self.port}"


class Response(asyncio.Protocol):
    """A streamed response. Its waits raise ConnectionError if it is cut, and TimeoutError if it goes silent."""

    def __init__(self, read_timeout: float) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._read_timeout = read_timeout
        self._parser = HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._news = asyncio.Event()
        self._complete = False
        self._lost: Exception | None = None
        self.transport: asyncio.Transport | None = None

    async def head(self) -> None:
        await self._until(lambda: self.status)

    async def chunk(self) -> bytes:
        """The part of the body that has arrived since the last call; empty at the end."""
        await self._until(lambda: self._chunks or self._complete)
        arrived = b"".join(self._chunks)
        self._chunks.clear()
        return arrived

    async def body(self) -> bytes:
        parts: list[bytes] = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def _until(self, condition: Any) -> None:
        while not condition():
            if self._lost is not None:
                raise self._lost
            self._news.clear()
            async with asyncio.timeout(self._read_timeout):
                await self._news.wait()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._lost = ConnectionError(f"not HTTP: {error}")
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._complete:
            self._lost = exc if isinstance(exc, OSError) else ConnectionResetError("cut before its end")
        self._news.set()

    # callbacks of httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._complete = True


@asynccontextmanager
async def exchange(
    address: Address, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, read_timeout: float
) -> AsyncGenerator[Response]:
    """Send one request on its own connection and yield the response once its headers have arrived.

    `read_timeout` is how many seconds it may be silent. Leaving the block cuts the connection. Raises OSError, of which
    TimeoutError and every way of being cut are kinds.
    """
    async with asyncio.timeout(CONNECT_SECONDS):
        _, response = await asyncio.get_running_loop().create_connection(
            lambda: Response(read_timeout), address.host, address.port
        )
    assert response.transport is not None
    try:
        length = {"content-length": str(len(body))} if method == "POST" else {}
        lines = {"host": f"{address.host}:{address.port}", **length, **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        response.transport.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        await response.head()
        yield response
    finally:
        with suppress(OSError):
            response.transport.abort()
