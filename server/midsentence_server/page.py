"""The web page: files built into this package when it was installed."""

import mimetypes
import os
import re
from importlib.resources import files
from os import PathLike
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from midsentence.errors import StoreUnavailableError
from midsentence_server.owner_cookie import new_owner
from midsentence_server.services import services

# The system's own table is missing in small images, and Python's knows fonts only from 3.14 on.
mimetypes.add_type("font/woff2", ".woff2")

_PAGE = files("midsentence_server") / "page"
# Nothing but our own files, no inline code, no frame around us, and no string that becomes markup, nor a policy by
# which one could.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # A new version of the server must not meet an old page; the answer is mostly 304.
    "Cache-Control": "no-cache",
}
# What lies there carries a hash of its content in its name, so that the name never means anything else.
_HASHED = "assets"
_FOR_EVER = "public, max-age=31536000, immutable"
_MISSING = (
    "The page is not built. In a checkout `scripts/up` builds it, and `pip install .` does; "
    "the interface works without it.\n"
)


class PageFiles(StaticFiles):
    """The page's files, with its headers, as small as they were made when it was built (frontend/build.py)."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        compressed = Path(f"{full_path}.gz")
        encoding: dict[str, str] = {}
        if _takes_gzip(Headers(scope=scope)) and compressed.is_file():
            full_path, stat_result = compressed, compressed.stat()
            encoding = {"Content-Encoding": "gzip"}
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update({**_HEADERS, **encoding, "Vary": "Accept-Encoding"})
        if Path(full_path).parent.name == _HASHED:
            response.headers["Cache-Control"] = _FOR_EVER
        return response

    async def check_config(self) -> None:
        """Find nothing where no page was built. Starlette would answer 500."""


def _takes_gzip(headers: Headers) -> bool:
    for offer in ",".join(headers.getlist("accept-encoding")).split(","):
        name, _, weight = offer.partition(";")
        if name.strip().lower() == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", weight.strip(), re.IGNORECASE)
    return False


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
