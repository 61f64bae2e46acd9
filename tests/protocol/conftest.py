"""The suite knows a server by its address alone: that of `--base-url`, else one that is started for it."""

from collections.abc import Generator
from typing import NamedTuple, cast

import httpx
import pytest

from tests.conftest import running
from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Upstream

# What nginx answers before a server sees it: its own 400 and 414 for a header or an address of 30,000 bytes, %00 and
# a path that climbs; it reads on where a chunked body has no end, and believes no stranger's X-Forwarded-Proto.
NGINX_ANSWERS = (
    "test_a_malformed_cursor_is_answered_with_one_snapshot[long]",
    "test_a_malformed_cursor_in_the_query_is_answered_alike[long]",
    "test_an_id_that_names_no_answer_is_not_answered_with_another[long]",
    "test_what_is_no_session_id_is_answered_alike[NUL]",
    "test_an_id_that_climbs_finds_nothing[%2E%2E]",
    "test_a_body_that_grows_too_large_is_refused[200]",
    "test_over_https_the_cookie_stays_there",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to the suite's own servers, where nginx stands in front, what only a server itself can show."""
    given = cast("str | None", config.getoption("--base-url"))
    if not given or httpx.get(given.rstrip("/") + "/healthz").headers.get("server") != "nginx":
        return
    left = [item for item in items if item.name in NGINX_ANSWERS]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


class Deployment(NamedTuple):
    """What is under test. `elsewhere` is another server of it, or the same where only one address is known."""

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
        settings = {"MIDSENTENCE_PING_SECONDS": "1"}
        stack = Stack(tmp_path_factory.mktemp("deployment"), upstream, servers=2, settings=settings)
        for started in running(stack):
            here, there = started.servers
            yield Deployment(here.base_url, there.base_url, ping_seconds=1)


@pytest.fixture
def base_url(deployment: Deployment) -> str:
    return deployment.base_url


@pytest.fixture
def visitor(base_url: str) -> Generator[Visitor]:
    with Visitor(base_url) as somebody:
        yield somebody


@pytest.fixture
def stranger(base_url: str) -> Generator[Visitor]:
    """Somebody with a good cookie of their own, and no part in what `visitor` does."""
    with Visitor(base_url) as somebody:
        somebody.http.get("/")
        assert somebody.http.cookies.get("midsentence")
        yield somebody


@pytest.fixture
def nobody(base_url: str) -> Generator[Visitor]:
    """Somebody without a cookie."""
    with Visitor(base_url) as somebody:
        yield somebody
