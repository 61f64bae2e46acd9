"""The log's contract on every store: fakeredis, the bundled Valkey, Debian's Redis, sentinels and a cluster."""

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from pathlib import Path

import pytest

from midsentence.jobs import Jobs
from midsentence.log import SessionLog
from midsentence.owners import Owners
from midsentence.settings import Settings
from midsentence.store.store import Store
from tests.conftest import assert_every_key_expires
from tests.support.fake_redis import fake_redis
from tests.support.processes import RedisChild
from tests.support.redis_deployments import RedisCluster, Sentinels, execute_on_all
from tests.support.requirements import program

Started = RedisChild | Sentinels | RedisCluster
STORES: dict[str, Callable[[Path], Started]] = {
    "valkey": RedisChild,
    "redis": lambda directory: RedisChild(directory, program("redis-server")),
    "sentinel": Sentinels,
    "cluster": RedisCluster,
}
PARAMS = ["fakeredis", "valkey", pytest.param("redis", marks=pytest.mark.needs_redis_server), "cluster"]
# Behind sentinels the topology is the same `Single` on the same Valkey as for "valkey"; only a connection is made in
# another way. So what connects is tested there: a claim, a write, a takeover, a script that is loaded, a subscription.
with_sentinel = pytest.mark.parametrize("server_url", [*PARAMS, "sentinel"], indirect=True, scope="session")


@pytest.fixture(scope="session", params=PARAMS)
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[str | None]:
    """The URL of the store under test; None for fakeredis, which each test starts in its own event loop."""
    if request.param == "fakeredis":
        yield None
        return
    made = STORES[request.param](tmp_path_factory.mktemp(request.param))
    try:
        made.start()
        yield made.url
        for child in holders(made):
            assert_every_key_expires(child.url)
    finally:
        made.stop()


def holders(made: Started) -> Sequence[RedisChild]:
    """The processes that hold keys of their own."""
    match made:
        case RedisChild():
            return [made]
        case Sentinels():
            return [made.replicated.primary]
        case RedisCluster():
            return made.masters


@pytest.fixture
async def redis_url(server_url: str | None) -> AsyncGenerator[str]:
    if server_url is not None:
        yield server_url
        return
    async with fake_redis() as url:
        yield url


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings.model_validate(
        {
            "redis_url": redis_url,
            "partitions": 4,
            "lease_seconds": 0.3,
            "replay_seconds": 0.05,
            "replay_events": 50,
            "queue_limit": 2,
        }
    )


@pytest.fixture
async def store(settings: Settings) -> AsyncGenerator[Store]:
    store = Store(settings)
    # Turns that another test left would be claimed by this one.
    await execute_on_all(store, "FLUSHALL")
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
