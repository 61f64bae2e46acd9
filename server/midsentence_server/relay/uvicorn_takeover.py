"""uvicorn's connection, which hands itself over to a stream instead of keeping a request open for it."""

import functools
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from midsentence_server.relay.event_stream import TAKE_OVER
from midsentence_server.relay.sinks import SocketOutlet

Headers = list[tuple[bytes, bytes]]


class Connection(HttpToolsProtocol):
    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        scope: Any = self.scope
        # With this very request's cycle: by the time it is answered another request may have come behind it.
        scope["extensions"] = {TAKE_OVER: functools.partial(self._take_over, self.cycle)}

    def _take_over(self, cycle: RequestResponseCycle, heir: SocketOutlet, headers: Headers) -> bool:
        """Give the connection away, for a response with these headers; False where it is gone.

        The request is over for uvicorn then, and its task, scope and parser are free; the heir stands in its place
        among the connections that a shutdown waits for.
        """
        # uvicorn has nothing more to say to this request, nor to one behind it, which would wait for ever.
        cycle.response_started = cycle.response_complete = True
        self.pipeline.clear()
        del cycle.scope["extensions"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
        if self.transport.is_closing():
            return False
        self.flow.resume_reading()
        self.connections.discard(self)
        connections: set[Any] = self.connections
        connections.add(heir)
        heir.inherit(self.transport, self._head(headers), connections.discard)
        # These refer to each other in circles, which the collector would find late.
        self.parser = None  # pyright: ignore[reportAttributeAccessIssue] - as uvicorn does when a connection is lost
        return True

    def _head(self, headers: Headers) -> bytes:
        # It carries no other request after this one.
        ours = [(b"transfer-encoding", b"chunked"), (b"connection", b"close")]
        fields = [b"%b: %b\r\n" % field for field in (*self.server_state.default_headers, *headers, *ours)]
        return b"HTTP/1.1 200 OK\r\n" + b"".join(fields) + b"\r\n"
