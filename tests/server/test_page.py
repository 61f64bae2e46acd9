"""How the page's files are served, from a folder with names such as Vite makes."""

import gzip
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from midsentence_server import page

pytestmark = pytest.mark.anyio

SCRIPT = "let x;\n" * 1000
NAME = "/page/assets/main-2G6mCxSb.js"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "assets" / "main-2G6mCxSb.js").write_text(SCRIPT)
    (folder / "assets" / "main-2G6mCxSb.js.gz").write_bytes(gzip.compress(SCRIPT.encode(), mtime=0))
    (folder / "assets" / "serif-Cs9mO0PD.woff2").write_bytes(b"wOF2")
    monkeypatch.setattr(page, "_PAGE", folder)
    return folder


@pytest.fixture
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    app = Starlette(routes=[Route("/", page.page), Mount("/page", page.static_files())])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        client.headers.pop("accept-encoding")
        yield client


@pytest.mark.parametrize("path", [NAME, "/page/assets/serif-Cs9mO0PD.woff2"])
async def test_a_file_with_a_hash_in_its_name_is_cached_for_ever(
    built: Path, client: httpx.AsyncClient, path: str
) -> None:
    response = await client.get(path)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_file_without_a_hash_is_revalidated(built: Path, client: httpx.AsyncClient) -> None:
    response = await client.get("/page/icon.svg")
    assert response.headers["cache-control"] == "no-cache"
    again = await client.get("/page/icon.svg", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")


async def test_a_404_is_not_cached(built: Path, client: httpx.AsyncClient) -> None:
    """Another server, of a newer release, may have the file."""
    response = await client.get("/page/assets/other-2G6mCxSb.js")
    assert response.status_code == 404
    assert "cache-control" not in response.headers


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP;q=0.1", "gzip;q=1.0, identity", "deflate,gzip"])
async def test_a_client_that_accepts_gzip_gets_the_compressed_file(
    built: Path, client: httpx.AsyncClient, accepted: str
) -> None:
    response = await client.get(NAME, headers={"Accept-Encoding": accepted})
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["content-type"].startswith("text/javascript")
    assert int(response.headers["content-length"]) < 100
    assert response.text == SCRIPT


@pytest.mark.parametrize("accepted", [None, "", "br", "gzip;q=0", "gzip; q=0.000", "gzippy", "identity"])
async def test_a_client_that_does_not_accept_gzip_gets_the_plain_file(
    built: Path, client: httpx.AsyncClient, accepted: str | None
) -> None:
    response = await client.get(NAME, headers={"Accept-Encoding": accepted} if accepted is not None else {})
    assert "content-encoding" not in response.headers
    assert int(response.headers["content-length"]) == len(SCRIPT)
    assert response.text == SCRIPT


async def test_a_shared_cache_can_tell_the_encodings_apart(built: Path, client: httpx.AsyncClient) -> None:
    whole, small = [await client.get(NAME, headers={"Accept-Encoding": taken}) for taken in ("identity", "gzip")]
    assert whole.headers["vary"] == small.headers["vary"] == "Accept-Encoding"
    assert whole.headers["etag"] != small.headers["etag"]


async def test_a_file_without_a_compressed_copy_is_served_plain(built: Path, client: httpx.AsyncClient) -> None:
    response = await client.get("/page/icon.svg", headers={"Accept-Encoding": "gzip"})
    assert (response.text, response.headers["vary"]) == ("<svg/>", "Accept-Encoding")


async def test_every_file_has_the_content_security_policy(built: Path, client: httpx.AsyncClient) -> None:
    for path in (NAME, "/page/icon.svg"):
        response = await client.get(path)
        assert "script-src 'self'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_font_has_its_content_type(built: Path, client: httpx.AsyncClient) -> None:
    response = await client.get("/page/assets/serif-Cs9mO0PD.woff2")
    assert response.headers["content-type"] == "font/woff2"


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_PAGE", tmp_path / "missing")


async def test_a_missing_page_names_the_commands_that_build_it(missing: None, client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert response.status_code == 503
    for command in ("`scripts/up`", "`pip install .`"):
        assert command in response.text
    assert (await client.get(NAME)).status_code == 404
