"""The ASGI application: its routes, its background tasks, its error handlers."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from midsentence.errors import StoreUnavailableError
from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence_server import errors, health, one_shot, page, sessions
from midsentence_server.descriptors import DESCRIPTORS
from midsentence_server.refusal_when_full import RefusalWhenFull
from midsentence_server.relay.dialects import HEADERS
from midsentence_server.services import Services
from midsentence_server.shutdown import ShutdownMiddleware

_STORE_POLL_SECONDS = 1.0

_logger = structlog.get_logger()


def create_app(settings: Settings, store: Store | None = None) -> Starlette:
    """Make the ASGI application. It serves at once, and is ready (`/readyz`) when Redis answers."""
    services = Services.on(store or Store(settings))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[Mapping[str, Any]]:
        works = (
            services.live.run(),
            services.hub.run(),
            services.session_lists.run(),
            _log_store_state(services.store),
            services.inspection.run(),
        )
        tasks = [asyncio.create_task(work) for work in works]
        yield {DESCRIPTORS: services.descriptors}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.inspection.aclose()
        await services.live.aclose()
        await services.store.aclose()

    streams = [(_stream("/sessions/{session_id}/events", sessions.events), HEADERS)]
    if settings.push:
        streams.append((_stream("/push", one_shot.push), one_shot.OneShot.headers))
    routes = [
        # First: routes are tried in order, and thousands of readers may reconnect here at once.
        *(route for route, _ in streams),
        Route("/", page.page),
        Route("/sessions", sessions.create, methods=["POST"]),
        Route("/sessions", sessions.index, methods=["GET"]),
        Route("/sessions/{session_id}", sessions.show, methods=["GET"]),
        Route("/sessions/{session_id}", sessions.rename, methods=["PATCH"]),
        Route("/sessions/{session_id}", sessions.delete, methods=["DELETE"]),
        Route("/sessions/{session_id}/messages", sessions.submit, methods=["POST"]),
        Route("/sessions/{session_id}/stop", sessions.stop, methods=["POST"]),
        Route("/sessions/{session_id}/share", sessions.share, methods=["POST"]),
        Route("/sessions/{session_id}/share", sessions.unshare, methods=["DELETE"]),
        Route("/models", sessions.models),
        Route("/healthz", health.live),
        Route("/readyz", health.ready),
        Mount("/page", page.static_files()),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            Middleware(ShutdownMiddleware),
            Middleware(RefusalWhenFull, services.descriptors, streams, always=("/healthz", "/readyz")),
        ],
        exception_handlers=dict.fromkeys(errors.HANDLED, errors.handle),
    )
    app.state.services = services
    return app


def _stream(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    route = Route(path, endpoint)
    # Starlette answers HEAD wherever it answers GET. For a stream that would hold it open, and start a model.
    route.methods = {"GET"}
    return route


async def _log_store_state(store: Store) -> None:
    """Log once where Redis is unreachable at the start, and once when it answers."""
    waiting = False
    while True:
        try:
            await store.ping()
        except StoreUnavailableError as error:
            if not waiting:
                _logger.warning("waiting_for_redis", error=str(error))
            waiting = True
            await asyncio.sleep(_STORE_POLL_SECONDS)
        else:
            _logger.info("redis_answers")
            return
