"""The answers of a server that has few file descriptors left (protocol, 2.1 and 8.16)."""

import random
from collections.abc import Container, Mapping, Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midsentence_server.descriptors import NUMBER, Descriptors
from midsentence_server.errors import HttpError

# Spread, so that all who were refused do not come back at once. Some seconds, since each try costs the server a third
# of a millisecond, and streams end slowly.
_STREAM_RETRY_MS = (4_000, 12_000)
_RETRY = {"Retry-After": "5", "Connection": "close"}


class RefusalWhenFull:
    """Middleware that keeps descriptors free: it refuses streams first, then other requests.

    A stream is refused with 200 and `retry:`, because an EventSource gives up for ever on an error status.
    """

    def __init__(
        self,
        app: ASGIApp,
        descriptors: Descriptors,
        streams: Sequence[tuple[Route, Mapping[str, str]]],
        always: Container[str],
    ) -> None:
        """`streams`: their routes, with the headers of their answers. `always`: paths that are never refused."""
        self._app = app
        self._descriptors = descriptors
        self._streams = streams
        self._always = always

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            number = scope.get("extensions", {}).get(NUMBER)
            if number is None:
                number = self._descriptors.lowest_free()
            if not self._descriptors.allows_stream(number):
                app = self._refusal(scope, number) or self._app
                await app(scope, receive, _closing(send))
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, number: int) -> Response | None:
        for route, headers in self._streams:
            if route.matches(scope)[0] is Match.FULL:
                self._descriptors.refuse()
                retry = random.randint(*_STREAM_RETRY_MS)  # noqa: S311 - jitter
                return Response(f": this server is full\nretry: {retry}\n\n", headers=dict(headers))
        if self._descriptors.allows_request(number) or scope["path"] in self._always:
            return None
        self._descriptors.refuse()
        return HttpError(503, "full", "This server is full; send the same request again later.", _RETRY).response()


def _closing(send: Send) -> Send:
    """Close the connection behind the response, because its descriptor is of the last ones."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["connection"] = "close"
        await send(message)

    return send_closing
