"""One contract, every store: fakeredis, the bundled Valkey, Debian's Redis 7."""

from collections.abc import AsyncGenerator, Generator

import fakeredis
import pytest

from midsentence.connection import Store
from midsentence.jobs import Jobs
from midsentence.log import SessionLog
from midsentence.owners import Owners
from midsentence.settings import Settings
from tests.conftest import assert_every_key_expires
from tests.support.processes import RedisChild
from tests.support.requirements import program

STORES = ["fakeredis", "valkey", pytest.param("redis", marks=pytest.mark.needs_redis_server)]


@pytest.fixture(scope="session", params=STORES)
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[str | None]:
    """Where the store under test is; None for fakeredis, which is nowhere."""
    if request.param == "fakeredis":
        yield None
        return
    directory = tmp_path_factory.mktemp(request.param)
    child = RedisChild(directory, program("redis-server") if request.param == "redis" else None)
    try:
        child.start()
        yield child.url
        assert_every_key_expires(child.url)
    finally:
        child.stop()


@pytest.fixture
def settings(redis_url: str | None) -> Settings:
    return Settings.model_validate(
        {
            "redis_url": redis_url or "redis://127.0.0.1:1",
            "partitions": 4,
            "lease_seconds": 0.3,
            "replay_seconds": 0.05,
            "replay_events": 50,
            "queue_limit": 2,
        }
    )


@pytest.fixture
async def store(settings: Settings, redis_url: str | None) -> AsyncGenerator[Store]:
    fake = fakeredis.FakeAsyncRedis(server_type="valkey") if redis_url is None else None
    store = Store(settings, fake)
    # Leftovers of another test would be claimed by this one.
    await store.pipeline().flushall().execute()
    yield store
    await store.aclose()


@pytest.fixture
def log(store: Store) -> SessionLog:
    return SessionLog(store)


@pytest.fixture
def jobs(store: Store) -> Jobs:
    return Jobs(store)


@pytest.fixture
def owners(store: Store) -> Owners:
    return Owners(store)
