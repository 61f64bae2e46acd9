"""uvicorn's connection, which gives itself away to a stream instead of keeping a request open for it.

uvicorn has no interface for this, so it relies on private attributes. They are checked at the first request; where one
is missing, streams go through ASGI. tests/server/test_uvicorn_reaches.py says what depends on each.
"""

import asyncio
import functools
import operator
import weakref
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from midsentence_server.descriptors import DESCRIPTORS, NUMBER, Descriptors
from midsentence_server.relay import asgi_fallback
from midsentence_server.relay.event_stream import TAKE_OVER
from midsentence_server.relay.sinks import TakenConnection

Headers = list[tuple[bytes, bytes]]

# What `take_over` uses, seen from the connection.
REACHES = (
    "transport",
    "scope",
    "parser",
    "pipeline.clear",
    "flow.resume_reading",
    "connections.discard",
    "server_state.default_headers",
    "cycle.response_started",
    "cycle.response_complete",
)


class TakeoverProtocol(HttpToolsProtocol):
    # Which of them are missing; None before the first request.
    _missing: ClassVar[list[str] | None] = None
    # The last head with what it was made of. uvicorn makes the default headers anew each second.
    _kept: ClassVar[tuple[Headers | None, Headers | None, bytes]] = (None, None, b"")
    # The number of the connection's descriptor; None where it is not known.
    _number: int | None = None
    # Set while the connection has sent no request and is one of the last that the process can have.
    _silent_in: Descriptors | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        descriptors: Descriptors | None = self.app_state.get(DESCRIPTORS)
        socket = transport.get_extra_info("socket")
        if descriptors is not None and socket is not None:
            self._number = number = socket.fileno()
            if not descriptors.allows_stream(number):
                self._silent_in = descriptors
                descriptors.keep_silent(self, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._no_longer_silent()

    def _no_longer_silent(self) -> None:
        if self._silent_in is not None:
            self._silent_in.forget_silent(self)
            self._silent_in = None

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._no_longer_silent()
        scope: Any = self.scope
        scope["extensions"] = {NUMBER: self._number}
        if TakeoverProtocol._missing is None:
            TakeoverProtocol._missing = missing_reaches(self)
        if TakeoverProtocol._missing:
            asgi_fallback.warn_once(f"uvicorn's connection has no {', '.join(TakeoverProtocol._missing)}")
            return
        # For this request's cycle: when it is answered, another request may have arrived behind it. Weak references,
        # since the cycle holds its scope: every request would be freed by the garbage collector alone.
        extension = functools.partial(_take_over, weakref.ref(self), weakref.ref(self.cycle))
        scope["extensions"][TAKE_OVER] = extension

    def take_over(self, cycle: RequestResponseCycle, headers: Headers) -> TakenConnection | None:
        """Give the connection away, for a response with these headers; None where the client has left.

        For uvicorn the request is then over, and its task, scope and parser are freed.
        """
        # uvicorn must not answer this request, nor one behind it, which would wait for ever.
        cycle.response_started = cycle.response_complete = True
        self.pipeline.clear()
        # The newest request's; it would hold this connection, which would hold it.
        self.cycle = cycle
        if self.transport.is_closing():
            return None
        self.flow.resume_reading()
        self.connections.discard(self)
        # The parser and this connection hold each other. uvicorn does the same when a connection is lost.
        self.parser = None  # pyright: ignore[reportAttributeAccessIssue]
        return TakenConnection(self.transport, self._head(headers), self.connections)

    def _head(self, headers: Headers) -> bytes:
        default = self.server_state.default_headers
        kept_default, kept_headers, head = TakeoverProtocol._kept
        if kept_default is not default or kept_headers is not headers:
            head = self._joined(default, headers)
            TakeoverProtocol._kept = default, headers, head
        return head

    def _joined(self, default: Headers, headers: Headers) -> bytes:
        # The connection carries no other request after this one.
        ours = [(b"transfer-encoding", b"chunked"), (b"connection", b"close")]
        fields = [b"%b: %b\r\n" % field for field in (*default, *headers, *ours)]
        return b"HTTP/1.1 200 OK\r\n" + b"".join(fields) + b"\r\n"


def missing_reaches(connection: object) -> list[str]:
    missing: list[str] = []
    for path in REACHES:
        try:
            operator.attrgetter(path)(connection)
        except AttributeError:
            missing.append(path)
    return missing


def _take_over(
    connection: "weakref.ref[TakeoverProtocol]", cycle: "weakref.ref[RequestResponseCycle]", headers: Headers
) -> TakenConnection | None:
    taken, answered = connection(), cycle()
    return None if taken is None or answered is None else taken.take_over(answered, headers)
