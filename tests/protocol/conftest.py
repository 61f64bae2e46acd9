"""The suite reaches a server by its address alone: `--base-url`, or a stack that it starts itself."""

from collections.abc import Generator
from typing import NamedTuple, cast

import httpx
import pytest

from tests.conftest import running
from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Upstream

# nginx itself answers these requests: with 400 or 414 for a header or a URL of 30,000 bytes, for %00, and for a path
# traversal above the root. It buffers a chunked body that never ends, and drops an untrusted X-Forwarded-Proto.
NGINX_ANSWERS = (
    "test_a_malformed_cursor_is_answered_with_one_snapshot[long]",
    "test_a_malformed_query_cursor_is_answered_with_one_snapshot[long]",
    "test_an_unknown_id_is_answered_204[long]",
    "test_a_malformed_session_id_looks_like_an_unknown_one[NUL]",
    "test_a_path_traversal_finds_nothing[%2E%2E]",
    "test_a_chunked_body_that_grows_too_large_is_refused[200]",
    "test_a_cookie_given_over_https_is_secure",
)
# Malformed cursors that a proxy might alter: empty, long or not ASCII, or with spaces, commas and markup. All others
# are short and plain, so they reach the same parser unchanged.
CURSOR_TEST = "test_a_malformed_cursor_is_answered_with_one_snapshot"
CURSORS_THROUGH_NGINX = (
    "empty",
    "a word",
    "negative",
    "white space within",
    "beyond any number",
    "Arabic digits",
    "not UTF-8",
    "of the one-shot interface",
    "markup",
    "a list",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect behind nginx what only a server without a proxy can show."""
    given = cast("str | None", config.getoption("--base-url"))
    if not given or httpx.get(given.rstrip("/") + "/healthz").headers.get("server") != "nginx":
        return
    through = {f"{CURSOR_TEST}[{name}]" for name in CURSORS_THROUGH_NGINX}
    left = [
        item
        for item in items
        if item.name in NGINX_ANSWERS or (item.name.startswith(CURSOR_TEST) and item.name not in through)
    ]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


MODELS = """
[[models]]
name = "scripted"
base_url = "{address}"
[[models]]
name = "org/another:8b"
model = "another"
base_url = "{address}"
"""


class Deployment(NamedTuple):
    """The servers under test. `elsewhere` is a second server, or the same one where only one address is known."""

    base_url: str
    elsewhere: str
    ping_seconds: float


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Deployment]:
    given = cast("str | None", request.config.getoption("--base-url"))
    if given:
        url = given.rstrip("/")
        yield Deployment(url, url, ping_seconds=15)
        return
    with Upstream() as upstream:
        directory = tmp_path_factory.mktemp("deployment")
        models = directory / "models.toml"
        models.write_text(MODELS.format(address=upstream.url))
        settings = {"MIDSENTENCE_PING_SECONDS": "1", "MIDSENTENCE_MODEL": "", "MIDSENTENCE_MODELS": str(models)}
        stack = Stack(directory, upstream, servers=2, settings=settings)
        for started in running(stack):
            here, there = started.servers
            yield Deployment(here.base_url, there.base_url, ping_seconds=1)


@pytest.fixture
def base_url(deployment: Deployment) -> str:
    return deployment.base_url


@pytest.fixture
def visitor(base_url: str) -> Generator[Visitor]:
    with Visitor(base_url) as client:
        yield client


@pytest.fixture
def stranger(base_url: str) -> Generator[Visitor]:
    """Another visitor, with a valid cookie and sessions of their own."""
    with Visitor(base_url) as client:
        client.http.get("/")
        assert client.http.cookies.get("midsentence")
        yield client


@pytest.fixture
def anonymous(base_url: str) -> Generator[Visitor]:
    """A visitor without a cookie."""
    with Visitor(base_url) as client:
        yield client
