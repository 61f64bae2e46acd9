"""What the server relies on that Starlette does not document: one test for each, which says what depends on it."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def endpoint(_request: Request) -> Response:
    return Response("ok")


async def get(app: Starlette, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        return await client.request(method, path)


async def test_methods_of_a_route_can_be_replaced() -> None:
    route = Route("/", endpoint)
    assert route.methods == {"GET", "HEAD"}
    route.methods = {"GET"}
    response = await get(Starlette(routes=[route]), "/", "HEAD")
    assert response.status_code == 405, "app.py refuses HEAD for streams: it would hold one open"


async def test_matches_tells_a_path_from_a_method() -> None:
    route, scope = Route("/", endpoint), {"type": "http", "method": "PUT", "path": "/"}
    assert route.matches(scope)[0] is Match.PARTIAL, "errors.py lists the methods of all routes that have the path"
    assert route.matches({**scope, "path": "/x"})[0] is Match.NONE


async def test_a_response_is_only_called() -> None:
    class Bare(Response):
        def __init__(self) -> None: ...

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await Response("called")(scope, receive, send)

    async def bare(_request: Request) -> Response:
        return Bare()

    response = await get(Starlette(routes=[Route("/", bare)]), "/")
    assert response.text == "called", "EventStream is a Response whose constructor is not called"


async def test_file_response_and_check_config_are_called_for_static_files(tmp_path: Path) -> None:
    calls: list[str] = []

    class Files(StaticFiles):
        async def check_config(self) -> None:
            calls.append("check_config")

        def file_response(self, *arguments: Any, **options: Any) -> Response:
            calls.append("file_response")
            return super().file_response(*arguments, **options)

    (tmp_path / "a.txt").write_text("a")
    await get(Starlette(routes=[Mount("/page", Files(directory=tmp_path))]), "/page/a.txt")
    assert calls == ["check_config", "file_response"], "page.py overrides both"
