"""An event stream to one reader, whatever the dialect: attach, write, ping, notice who left or stopped reading."""

import asyncio
import random
from typing import Any, Protocol

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from midsentence.events import PING
from midsentence.ids import EventId
from midsentence.log import View
from midsentence.settings import Settings
from midsentence_server.hub import Hub
from midsentence_server.reader import Reader
from midsentence_server.refusals import not_found
from midsentence_server.unfinished import BEGUN

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}
# How soon an EventSource comes back after a cut. Spread, so that the readers of a server that went away do not arrive
# as one.
_RETRY_MS = (500, 1500)
_DRAIN_RETRY_MS = (200, 3000)
# Where the server's protocol class leaves the connection, for the one thing that ASGI cannot ask for.
TRANSPORT = "midsentence.transport"

_logger = structlog.get_logger()


class Dialect(Protocol):
    """How one kind of client wants the log's events."""

    ping: bytes
    headers: dict[str, str]

    def admits(self, view: View) -> bool:
        """Whether this session may be read here at all."""
        ...

    def render(self, wire: bytes) -> bytes:
        """Native frames in this dialect; b"" where nothing of them is for this client."""
        ...

    @property
    def over(self) -> bool:
        """Nothing more will be said."""
        ...


class Native:
    """The log's own frames, for whoever owns the session."""

    ping = PING
    headers = HEADERS
    over = False

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def admits(self, view: View) -> bool:
        return view.owner == self._owner

    def render(self, wire: bytes) -> bytes:
        return wire


class EventStream(Response):
    """Relays a session from a cursor.

    Answers 204 instead where `until_end` and the reader lacks nothing of an idle session.
    """

    def __init__(
        self,
        hub: Hub,
        settings: Settings,
        session_id: str,
        cursor: EventId | None,
        dialect: Dialect,
        *,
        until_end: bool,
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._session_id = session_id
        self._cursor = cursor
        self._dialect = dialect
        self._until_end = until_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = Reader(self._hub, self._session_id, until_end=self._until_end)
        async with self._hub.follow(self._session_id, reader) as feed:
            view, first = await reader.begin(feed, self._cursor)
            if not self._dialect.admits(view):
                raise not_found()
            if self._until_end and view.fold is None and not view.events and reader.is_done(feed):
                await Response(status_code=204, headers={"Cache-Control": "no-store", **self._extra_headers()})(
                    scope, receive, send
                )
                return
            leaving = asyncio.create_task(_leave_on_disconnect(receive, reader))
            try:
                scope[BEGUN] = True
                await self._head(send)
                await self._write(send, self._dialect.render(first))
                while (
                    not self._dialect.over
                    and (wire := await reader.next(feed, self._settings.ping_seconds)) is not None
                ):
                    await self._write(send, self._dialect.render(wire) if wire else self._dialect.ping)
                await self._goodbye(send)
            except TimeoutError:
                self._cut(scope)
            finally:
                leaving.cancel()

    def _extra_headers(self) -> dict[str, str]:
        return {name: value for name, value in self._dialect.headers.items() if name not in HEADERS}

    async def _head(self, send: Send) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in self._dialect.headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._write(send, b": midsentence\nretry: %d\n\n" % random.randint(*_RETRY_MS))  # noqa: S311 - jitter

    async def _write(self, send: Send, wire: bytes) -> None:
        if not wire:
            return
        # The server waits here while the socket takes nothing. Raises TimeoutError.
        async with asyncio.timeout(self._settings.stuck_reader_seconds):
            await send({"type": "http.response.body", "body": wire, "more_body": True})

    async def _goodbye(self, send: Send) -> None:
        last = b"retry: %d\n\n" % random.randint(*_DRAIN_RETRY_MS) if self._hub.draining else b""  # noqa: S311 - jitter
        async with asyncio.timeout(self._settings.stuck_reader_seconds):
            await send({"type": "http.response.body", "body": last, "more_body": False})

    def _cut(self, scope: Scope) -> None:
        """Drop a reader who takes nothing: a polite close would wait for its socket, and hold its buffer, for ever."""
        _logger.info("stuck_reader_cut", session=self._session_id)
        transport: Any = scope.get("extensions", {}).get(TRANSPORT)
        if transport is not None:
            transport.abort()


async def _leave_on_disconnect(receive: Receive, reader: Reader) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.leave()
