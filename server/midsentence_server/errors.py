"""All error responses: their statuses, codes, messages and JSON (protocol, section 2)."""

from collections.abc import Mapping

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from midsentence.errors import (
    IdempotencyMismatchError,
    MidsentenceError,
    QueueFullError,
    SessionBusyError,
    SessionNotFoundError,
    StoreUnavailableError,
    StoreUnusableError,
    TurnNotFoundError,
    UnknownModelError,
)
from midsentence_server import reply_headers

_RETRY = {"Retry-After": "2"}
_NOT_FOUND = "There is no such session for you. Sessions expire, and belong to the browser that started them."

_logger = structlog.get_logger()


class HttpError(Exception):
    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        body = msgspec.json.encode({"error": {"code": self.code, "message": self.message}})
        headers = {"Cache-Control": "no-store", **(self.headers or {})}
        return Response(body, self.status, headers, media_type="application/json")


def not_found() -> HttpError:
    return HttpError(404, "not_found", _NOT_FOUND)


def _translated(error: Exception) -> HttpError:  # noqa: PLR0911 - one line for each kind
    match error:
        case HttpError():
            return error
        case SessionNotFoundError():
            return not_found()
        case IdempotencyMismatchError():
            return HttpError(
                422, "idempotency_mismatch", "This Idempotency-Key was used before with another body; use a new one."
            )
        case UnknownModelError():
            return HttpError(422, "unknown_model", str(error))
        case SessionBusyError():
            return HttpError(409, "busy", "A turn is running; send again when it is over, or let the message wait.")
        case TurnNotFoundError():
            return HttpError(404, "no_such_turn", "The session has no turn of that number.")
        case QueueFullError():
            return HttpError(429, "queue_full", f"{error}; send again when the answer is done.", _RETRY)
        case StoreUnavailableError():
            return _from_store(error)
        case HTTPException():
            return _from_starlette(error)
        case _:
            return HttpError(500, "internal", "The server failed at this request; its log says why.")


def _from_store(error: StoreUnavailableError) -> HttpError:
    if isinstance(error, StoreUnusableError):
        # `Inspection.report` logs it.
        return HttpError(503, "store_unusable", str(error), _RETRY)
    _logger.warning("store_unavailable", error=str(error))
    message = "The log cannot be reached right now; send the same request again."
    return HttpError(503, "store_unavailable", message, _RETRY)


def _from_starlette(error: HTTPException) -> HttpError:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return HttpError(404, "not_found", "There is nothing at this address.")
        case status:
            return HttpError(status, "refused", str(error.detail), headers)


def _method_not_allowed(request: Request) -> HttpError:
    # Starlette lists the methods of the first route that has the path; several routes may have it.
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    fitting = [route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    allowed = ", ".join(sorted({method for methods in fitting for method in methods})) or "GET, HEAD"
    return HttpError(405, "method_not_allowed", f"This address takes {allowed}.", {"Allow": allowed})


async def handle(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for all of `HANDLED`."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        return _method_not_allowed(request).response()
    if isinstance(error, StoreUnusableError):
        request.app.state.services.inspection.report(error)
    return reply_headers.add_to(request.scope, _translated(error).response())


HANDLED = (HttpError, MidsentenceError, HTTPException, Exception)
