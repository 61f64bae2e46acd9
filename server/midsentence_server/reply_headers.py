"""Headers that every reply to a request carries once they are known, errors and a refusal at the shutdown too.

The handler of a route, the handler of an error and the middleware of a shutdown share only the request's ASGI scope.
"""

from starlette.responses import Response
from starlette.types import Scope

_HEADERS = "midsentence.reply_headers"


def require(scope: Scope, name: str, value: str) -> None:
    """From now on, `add_to` adds this header to the reply."""
    scope.setdefault(_HEADERS, []).append((name, value))


def add_to(scope: Scope, response: Response) -> Response:
    """The response, with the headers that were required."""
    for name, value in scope.get(_HEADERS, ()):
        response.headers.append(name, value)
    return response
