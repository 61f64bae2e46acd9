"""Whether this process lives, and whether it should be sent work."""

from starlette.requests import Request
from starlette.responses import Response

from midsentence_server.errors import Refusal
from midsentence_server.services import services


async def live(_request: Request) -> Response:
    """GET /healthz"""
    return Response("ok\n", media_type="text/plain")


async def ready(request: Request) -> Response:
    """GET /readyz"""
    at = services(request)
    if at.hub.draining:
        raise Refusal(503, "draining", "This server is shutting down; ask another one.")
    await at.store.ping()
    return Response("ready\n", media_type="text/plain")
