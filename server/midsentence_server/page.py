"""The web page: files that are built into this package at its installation."""

import mimetypes
import os
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
from midsentence_server.requests import acceptable
from midsentence_server.services import services_of

# Small images lack the system's table of types, and Python's own has fonts only from 3.14 on.
mimetypes.add_type("font/woff2", ".woff2")

_PAGE = files("midsentence_server") / "page"
# Against cross-site scripting and clickjacking: only our own files, no inline code, no frame around the page, and no
# strings that become markup.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # An old page must not meet a newer server; most answers are 304.
    "Cache-Control": "no-cache",
}
# Files there have a hash of their content in their names, so their content never changes.
_HASHED_FOLDER = "assets"
_IMMUTABLE = "public, max-age=31536000, immutable"
_MISSING = (
    "The page is not built. In a checkout `scripts/up` builds it, and `pip install .` does; "
    "the interface works without it.\n"
)


class PageFiles(StaticFiles):
    """The page's files with its headers, and the gzip copy that the build made of a file (frontend/build.py)."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        compressed = Path(f"{full_path}.gz")
        encoding: dict[str, str] = {}
        if acceptable(Headers(scope=scope), "accept-encoding").get("gzip") and compressed.is_file():
            full_path, stat_result = compressed, compressed.stat()
            encoding = {"Content-Encoding": "gzip"}
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update({**_HEADERS, **encoding, "Vary": "Accept-Encoding"})
        if Path(full_path).parent.name == _HASHED_FOLDER:
            response.headers["Cache-Control"] = _IMMUTABLE
        return response

    async def check_config(self) -> None:
        """Check nothing: without a page the files are missing, and Starlette would answer 500 instead of 404."""


async def page(request: Request) -> Response:
    """GET /"""
    index = _PAGE / "index.html"
    if not index.is_file():
        return PlainTextResponse(_MISSING, 503)
    response = Response(index.read_bytes(), headers=_HEADERS, media_type="text/html")
    cookies = services_of(request).owner_cookies
    try:
        owner = await cookies.owner(request)
        await cookies.set_on(request, response, owner or new_owner())
    except StoreUnavailableError:
        # The page explains the trouble better than an error would. It gets its cookie with its first message.
        response.headers["Cache-Control"] = "no-store"
    return response


def static_files() -> PageFiles:
    return PageFiles(directory=str(_PAGE), check_dir=False)
