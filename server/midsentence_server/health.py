"""Liveness and readiness of this process."""

from starlette.requests import Request
from starlette.responses import Response

from midsentence_server.errors import HttpError
from midsentence_server.services import services_of


async def live(_request: Request) -> Response:
    """GET /healthz"""
    return Response("ok\n", media_type="text/plain")


async def ready(request: Request) -> Response:
    """GET /readyz"""
    services = services_of(request)
    if services.hub.draining:
        raise HttpError(503, "draining", "This server is shutting down; ask another one.")
    if services.descriptors.is_full:
        raise HttpError(503, "full", "This server has no file descriptor for another stream; ask another one.")
    await services.inspection.require()
    await services.store.ping()
    return Response("ready\n", media_type="text/plain")
