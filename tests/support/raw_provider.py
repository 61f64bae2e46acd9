"""A provider that answers each request with given bytes, and remembers what it was asked.

It runs in the test's own event loop. Unlike the scripted upstream it sends what no server should: bodies that end early
or never, other versions of HTTP, redirects.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.support.listener import stop_listening

# What is sent in a row; the connection is closed behind it. An event is waited for, None is a silence without an end.
Reply = Sequence[bytes | asyncio.Event | None]


def reply(body: bytes, status: str = "200 OK", *headers: str, kind: str = "text/event-stream") -> Reply:
    """A response whose body ends with the connection."""
    lines = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *headers))
    return [lines.encode() + b"\r\n\r\n" + body]


class RawProvider:
    def __init__(self, replies: Sequence[Reply]) -> None:
        self.port = 0
        self.connections = 0
        self.parts = 0  # that were sent
        # The request lines, the headers with their names in lower case, and the bodies.
        self.lines: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self._replies = replies

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test has ended
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        # The last reply is repeated.
        answer = self._replies[min(len(self.lines), len(self._replies) - 1)]
        self.lines.append(first)
        self.headers.append(headers)
        self.bodies.append(body)
        for part in answer:
            if not isinstance(part, bytes):
                await (part or asyncio.Event()).wait()
            else:
                writer.write(part)
                await writer.drain()
                self.parts += 1
                # So that the client reads the parts one by one.
                await asyncio.sleep(0)


@asynccontextmanager
async def raw_provider(*replies: Reply, host: str = "127.0.0.1", **options: Any) -> AsyncGenerator[RawProvider]:
    provider = RawProvider(replies)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(provider.connected(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, host, 0, **options)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        await stop_listening(server)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
