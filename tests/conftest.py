"""Fixtures of all tests. A key without a time to live fails the test that left it."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import cast

import hypothesis
import pytest
from redis import Redis

from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Upstream

# The same examples in each run, so that a failure can be repeated on any machine. Without a deadline: a busy
# machine is no failure.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

pytest_plugins = ["tests.support.parallel", "tests.support.requirements"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--base-url", help="run tests/protocol against a server that is running already, at this address")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def upstream() -> Generator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def stack_settings() -> dict[str, str]:
    """Override in a module to change the settings of its stack."""
    return {}


@pytest.fixture
def stack(tmp_path: Path, upstream: Upstream, stack_settings: dict[str, str]) -> Generator[Stack]:
    """One server, one worker, one Valkey, for this test alone."""
    yield from running(Stack(tmp_path, upstream, settings=stack_settings))


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """Two servers and two workers for all tests of a module. Each test uses its own sessions and stops no process."""
    with Upstream() as server:
        yield from running(Stack(tmp_path_factory.mktemp("stack"), server, servers=2, workers=2))


@pytest.fixture
def visitor(stack: Stack) -> Generator[Visitor]:
    with Visitor(stack.base_url) as client:
        yield client


def running(stack: Stack) -> Generator[Stack]:
    try:
        stack.start()
        yield stack
        if stack.redis.is_running:
            assert_every_key_expires(stack.redis.url)
    finally:
        stack.stop()


def assert_every_key_expires(url: str) -> None:
    with Redis.from_url(url) as redis:  # pyright: ignore[reportUnknownMemberType]
        names = cast("Iterator[bytes]", redis.scan_iter())  # pyright: ignore[reportUnknownMemberType]
        for_ever = [name for name in names if redis.ttl(name) == -1]
    assert for_ever == [], "keys that never expire"
