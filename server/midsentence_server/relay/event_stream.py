"""A response that is an event stream to one reader: attach, send what was missed, and leave the rest to the feed."""

import random
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from midsentence.errors import SessionNotFoundError
from midsentence.ids import EventId
from midsentence.settings import Settings
from midsentence_server.errors import not_found
from midsentence_server.relay import asgi_fallback
from midsentence_server.relay.dialects import HEADERS, Dialect
from midsentence_server.relay.feed import Feed
from midsentence_server.relay.hub import Hub
from midsentence_server.relay.reader import Reader
from midsentence_server.relay.replay_buffer import Frame
from midsentence_server.relay.sinks import AsgiSink, SocketSink, StreamProtocol
from midsentence_server.shutdown import RESPONSE_STARTED

# How soon an EventSource reconnects after a cut. Spread, so that the readers of a server that died do not arrive all
# at once.
_RETRY_MS = (500, 1500)
# The ASGI extension by which the server gives its connection away: a function from the response's headers to a
# `TakenConnection`, or None where the client has left.
TAKE_OVER = "midsentence.take_over"


class EventStream(Response):
    """Relays a session from a cursor.

    Answers 204 instead where `until_end` is set and the reader lacks nothing of a complete session.
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
        self._cursor = b"" if cursor is None else str(cursor).encode()
        self._dialect = dialect
        self._until_end = until_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        feed = await self._hub.feed(self._session_id)
        first = await self._find(feed)
        if self._until_end and not first.wire and feed.is_complete_at(first.last):
            response = Response(status_code=204, headers={"Cache-Control": "no-store", **self._extra_headers()})
            await response(scope, receive, send)
            return
        greeting = b": midsentence\nretry: %d\n\n" % random.uniform(*_RETRY_MS)  # noqa: S311 - jitter
        headers = self._dialect.raw_headers
        take_over: Any = scope.get("extensions", {}).get(TAKE_OVER)
        scope[RESPONSE_STARTED] = True
        if take_over is None:
            asgi_fallback.warn_once("the HTTP server does not give its connections away")
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            sink = AsgiSink(self._settings.stuck_reader_seconds)
            reader = self._reader(feed, sink)
            reader.start(greeting, first)
            await sink.run(reader, receive, send)
        elif (taken := take_over(headers)) is not None:
            sink = SocketSink(taken.transport, taken.head, self._settings.stuck_reader_seconds)
            reader = self._reader(feed, sink)
            taken.hand_to(StreamProtocol(reader, sink, taken.connections))
            reader.start(greeting, first)

    def _reader(self, feed: Feed, sink: AsgiSink | SocketSink) -> Reader:
        return Reader(feed, self._dialect, sink, until_end=self._until_end)

    async def _find(self, feed: Feed) -> Frame:
        try:
            found = await feed.find(self._cursor, until_end=self._until_end)
        except SessionNotFoundError:
            self._hub.forget(feed)
            raise
        if feed.access is None or not self._dialect.allows(feed.access):
            raise not_found()
        return found

    def _extra_headers(self) -> dict[str, str]:
        return {name: value for name, value in self._dialect.headers.items() if name not in HEADERS}
