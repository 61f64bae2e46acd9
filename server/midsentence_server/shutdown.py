"""The answer to requests that still wait, for Redis for example, when the grace period of a shutdown is over."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from midsentence_server import reply_headers
from midsentence_server.errors import HttpError

# Set in the scope once a response has started, which then cannot be replaced. Watching `send` instead would slow every
# event.
RESPONSE_STARTED = "midsentence.response_started"
_RETRY = {"Retry-After": "1"}


class ShutdownMiddleware:
    """Answers 503 `draining` where uvicorn would answer 500 to a request cancelled at a shutdown."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http" or RESPONSE_STARTED in scope:
                raise
            error = HttpError(503, "draining", "This server is shutting down; send the same request again.", _RETRY)
            # uvicorn raises where a response has started after all, and then closes the connection.
            with suppress(RuntimeError):
                await reply_headers.add_to(scope, error.response())(scope, receive, send)
                return
            raise
