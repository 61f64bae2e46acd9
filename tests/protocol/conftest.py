"""The suite knows a server by its address alone: that of `--base-url`, else one that is started for it."""

from collections.abc import Generator
from typing import NamedTuple, cast

import pytest

from tests.conftest import running
from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Upstream


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
