"""Which address is answered by what."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

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
from midsentence_server.services import Services
from midsentence_server.shutdown import Unfinished

_STORE_POLL_SECONDS = 1.0

_logger = structlog.get_logger()


def create_app(settings: Settings, store: Store | None = None) -> Starlette:
    """Make the ASGI application. It serves at once and is ready (`/readyz`) when Redis answers."""
    at = Services.on(store or Store(settings))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(work) for work in (at.live.run(), at.hub.run(), _announce_store(at.store))]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await at.live.aclose()
        await at.store.aclose()

    routes = [
        # First, since routes are tried in their order and a crowd of readers comes back here.
        _stream("/sessions/{session_id}/events", sessions.events),
        Route("/", page.page),
        Route("/sessions", sessions.start, methods=["POST"]),
        Route("/sessions", sessions.mine, methods=["GET"]),
        Route("/sessions/{session_id}", sessions.show, methods=["GET"]),
        Route("/sessions/{session_id}", sessions.rename, methods=["PATCH"]),
        Route("/sessions/{session_id}", sessions.delete, methods=["DELETE"]),
        Route("/sessions/{session_id}/messages", sessions.say, methods=["POST"]),
        Route("/sessions/{session_id}/stop", sessions.stop, methods=["POST"]),
        Route("/sessions/{session_id}/share", sessions.share, methods=["POST"]),
        Route("/sessions/{session_id}/share", sessions.unshare, methods=["DELETE"]),
        Route("/healthz", health.live),
        Route("/readyz", health.ready),
        Mount("/page", page.static_files()),
    ]
    if settings.push:
        routes.append(_stream("/push", one_shot.push))
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Unfinished)],
        exception_handlers=dict.fromkeys(errors.HANDLED, errors.refuse),
    )
    app.state.services = at
    return app


def _stream(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    route = Route(path, endpoint)
    # Starlette answers HEAD wherever it answers GET; for a stream that would hold one open, and ask a model.
    route.methods = {"GET"}
    return route


async def _announce_store(store: Store) -> None:
    """Say once that Redis is missing and once that it is there; a server alone in the dark looks like a working one."""
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
