"""The web page: files built into this package when it was installed."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from midsentence.errors import StoreUnavailableError
from midsentence_server.services import services
from midsentence_server.visitors import new_owner

_PAGE = files("midsentence_server") / "page"
# Nothing but our own files, no inline code, no frame around us, and no string that becomes markup.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # A new version of the server must not meet an old page; the files are small and the answer is mostly 304.
    "Cache-Control": "no-cache",
}
_MISSING = (
    "The page is not built. Install the project (pip install -e .) to build it; the interface works without it.\n"
)


class PageFiles(StaticFiles):
    """The page's scripts and styles, with its headers."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(_HEADERS)
        return response


async def page(request: Request) -> Response:
    """GET /"""
    index = _PAGE / "index.html"
    if not index.is_file():
        return PlainTextResponse(_MISSING, 503)
    response = Response(index.read_bytes(), headers=_HEADERS, media_type="text/html")
    visitors = services(request).visitors
    try:
        owner = await visitors.owner(request)
        await visitors.remember(request, response, owner or new_owner())
    except StoreUnavailableError:
        # The page can say what is wrong better than an error can; it gets its cookie with its first question.
        response.headers["Cache-Control"] = "no-store"
    return response


def static_files() -> PageFiles:
    return PageFiles(directory=str(_PAGE), check_dir=False)
