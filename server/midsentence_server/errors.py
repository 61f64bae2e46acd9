"""Every way in which a request is refused, and the JSON that says so (protocol, section 2)."""

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
    TurnNotFoundError,
)

_RETRY = {"Retry-After": "2"}
_NOT_FOUND = "There is no such session for you. Sessions expire, and belong to the browser that started them."

_logger = structlog.get_logger()


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a defect
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


def not_found() -> Refusal:
    return Refusal(404, "not_found", _NOT_FOUND)


def _of(error: Exception) -> Refusal:  # noqa: PLR0911 - one line a kind
    match error:
        case Refusal():
            return error
        case SessionNotFoundError():
            return not_found()
        case IdempotencyMismatchError():
            return Refusal(
                422, "idempotency_mismatch", "This Idempotency-Key was used before with another body; use a new one."
            )
        case SessionBusyError():
            return Refusal(409, "busy", "A turn is running; send again when it is over, or let the message wait.")
        case TurnNotFoundError():
            return Refusal(404, "no_such_turn", "The session has no turn of that number.")
        case QueueFullError():
            return Refusal(429, "queue_full", f"{error}; send again when the answer is done.", _RETRY)
        case StoreUnavailableError():
            _logger.warning("store_unavailable", error=str(error))
            return Refusal(
                503, "store_unavailable", "The log cannot be reached right now; send the same request again.", _RETRY
            )
        case HTTPException():
            return _of_http(error)
        case _:
            return Refusal(500, "internal", "The server failed at this request; its log says why.")


def _of_http(error: HTTPException) -> Refusal:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return Refusal(404, "not_found", "There is nothing at this address.")
        case status:
            return Refusal(status, "refused", str(error.detail), headers)


def _method_not_allowed(request: Request) -> Refusal:
    # Starlette names the methods of the first route that has the path; an address may have several.
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    fitting = [route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    allowed = ", ".join(sorted({method for methods in fitting for method in methods})) or "GET, HEAD"
    return Refusal(405, "method_not_allowed", f"This address takes {allowed}.", {"Allow": allowed})


async def refuse(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for all of these."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        return _method_not_allowed(request).response()
    return _of(error).response()


HANDLED = (Refusal, MidsentenceError, HTTPException, Exception)
