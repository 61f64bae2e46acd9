"""Requests that are still waiting, for Redis say, when the grace of a stopping server is over."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from midsentence_server.errors import Refusal

# Set in the scope of an answer that has begun: it can have no other. (To watch `send` instead would cost every event.)
BEGUN = "midsentence.begun"
_RETRY = {"Retry-After": "1"}


class Unfinished:
    """Refuses them as the server's stop and not as a defect: uvicorn would answer 500, which says not to try again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http" or BEGUN in scope:
                raise
            refusal = Refusal(503, "draining", "This server is shutting down; send the same request again.", _RETRY)
            # uvicorn refuses the beginning where a small answer was just being sent; it then closes the connection.
            with suppress(RuntimeError):
                await refusal.response()(scope, receive, send)
                return
            raise
