"""The circuit breaker of a model: what opens it for all workers, who probes, and what closes it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from midsentence import breakers as module
from midsentence.breakers import Breakers
from midsentence.events import Failure
from midsentence.settings import Settings
from midsentence.store.scripts import command
from midsentence.store.store import Store
from tests.support.processes import RedisChild
from tests.support.redis_deployments import execute
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

MODEL = "large"
FAILURE = Failure("model_failed", "The model at http://model/v1 failed (503): ask again. (Overloaded.)", retryable=True)
OTHER = Failure("model_rate_limited", "http://model/v1 takes no more requests for now.", retryable=True)
# So long that no test meets the end of a time by itself: tests end it by `let_pass`.
SECONDS = 20
LIMIT = 3


class CountingStore(Store):
    """Counts the round trips."""

    round_trips = 0

    async def execute_all(self, requests: Any) -> list[Any]:
        self.round_trips += 1
        return await super().execute_all(requests)


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings.model_validate(
        {"redis_url": redis_url, "breaker_failures": LIMIT, "breaker_seconds": SECONDS, "redis_timeout_seconds": 5}
    )


@pytest.fixture
async def here(store: Store) -> Breakers:
    return Breakers(store, [MODEL, "small"])


@pytest.fixture
async def there(store: Store) -> Breakers:
    """The breakers of another worker."""
    return Breakers(store, [MODEL, "small"])


async def open_by(breakers: Breakers, failure: Failure = FAILURE) -> None:
    for _ in range(LIMIT):
        await breakers.failed(MODEL, failure)


async def field(store: Store, name: str) -> Any:
    return await store.run(command("HGET", store.keys.breaker(MODEL), name))


async def let_pass(store: Store, *breakers: Breakers) -> None:
    """End the time for which the breaker is open, for Redis and for the views of these workers."""
    await store.run(command("HSET", store.keys.breaker(MODEL), "ends", "1"))
    for worker in breakers:
        await worker.refresh()


async def opened_for(breakers: Breakers) -> float:
    """The whole seconds, rounded up, after which the model may be asked."""
    await breakers.refresh()
    return round(await breakers.admit(MODEL) + 0.49)


async def test_failures_in_a_row_open_a_breaker_for_all_workers(here: Breakers, there: Breakers) -> None:
    for failing in (here, there, here):
        assert await here.admit(MODEL) == 0
        await failing.failed(MODEL, FAILURE)
    assert 0 < await here.admit(MODEL) <= SECONDS
    await there.refresh()
    assert 0 < await there.admit(MODEL) <= SECONDS
    assert await here.admit("small") == 0
    assert (here.failure(MODEL), there.failure(MODEL), here.failure("small")) == (FAILURE, FAILURE, None)


async def test_success_begins_the_count_anew(here: Breakers, there: Breakers) -> None:
    for _ in range(LIMIT):
        for _ in range(LIMIT - 1):
            await here.failed(MODEL, FAILURE)
        await there.refresh()
        await there.succeeded(MODEL)
    assert await here.admit(MODEL) == 0


async def test_failures_that_are_a_minute_apart_do_not_add_up(here: Breakers, store: Store) -> None:
    for _ in range(LIMIT * 2):
        await here.failed(MODEL, FAILURE)
        times = [int(time) - 60_000 for time in (await field(store, "times")).split()]
        await store.run(command("HSET", store.keys.breaker(MODEL), "times", " ".join(map(str, times))))
    assert await here.admit(MODEL) == 0


async def test_one_probe_is_admitted_among_all_workers(here: Breakers, there: Breakers, store: Store) -> None:
    await open_by(here)
    await let_pass(store, here, there)
    waits = await asyncio.gather(*(worker.admit(MODEL) for worker in (here, there) for _ in range(5)))
    assert sorted(waits)[:2] == [0.0, pytest.approx(1, abs=0.9)]
    assert all(0 < wait <= 1 for wait in sorted(waits)[1:])


async def test_success_of_the_probe_closes_the_breaker(here: Breakers, there: Breakers, store: Store) -> None:
    await open_by(here)
    await let_pass(store, here, there)
    assert await there.admit(MODEL) == 0
    await there.succeeded(MODEL)
    await here.refresh()
    assert (await here.admit(MODEL), await there.admit(MODEL)) == (0, 0)
    # Also for a second turn at once, which a probe would make wait.
    assert (await here.admit(MODEL), here.failure(MODEL)) == (0, None)
    await here.failed(MODEL, FAILURE)
    assert await here.admit(MODEL) == 0, "the count begins anew"


async def test_each_failed_probe_doubles_the_time_up_to_a_minute(here: Breakers, there: Breakers, store: Store) -> None:
    await open_by(here)
    assert await opened_for(there) == SECONDS
    for seconds in (40, 60, 60):
        await let_pass(store, here)
        assert await here.admit(MODEL) == 0
        await here.failed(MODEL, OTHER)
        assert await opened_for(there) == seconds
    assert there.failure(MODEL) == OTHER


async def test_failures_of_calls_that_began_before_do_not_prolong_the_time(
    here: Breakers, there: Breakers, store: Store
) -> None:
    await open_by(here)
    for _ in range(2 * LIMIT):
        await there.failed(MODEL, FAILURE)
    assert await opened_for(here) == SECONDS
    await let_pass(store, here, there)
    assert await here.admit(MODEL) == 0
    await there.failed(MODEL, FAILURE)
    await here.succeeded(MODEL)
    assert await here.admit(MODEL) == 0, "the probe alone decides"


async def test_a_probe_without_a_result_is_given_back(here: Breakers, there: Breakers, store: Store) -> None:
    await open_by(here)
    await let_pass(store, here, there)
    assert await here.admit(MODEL) == 0
    assert await there.admit(MODEL) > 0
    await here.released(MODEL)
    await there.refresh()
    assert await there.admit(MODEL) == 0


async def test_a_probe_of_a_worker_that_dies_is_freed(here: Breakers, there: Breakers, store: Store) -> None:
    await open_by(here)
    await let_pass(store, here, there)
    assert await here.admit(MODEL) == 0
    await store.run(command("HSET", store.keys.breaker(MODEL), "until", "1"))
    await there.refresh()
    assert await there.admit(MODEL) == 0
    # The first worker was only slow: the probe is not its own any more.
    await store.run(command("HSET", store.keys.breaker(MODEL), "until", "1"))
    await here.refresh()
    assert await field(store, "until") == b"1"
    await here.failed(MODEL, FAILURE)
    await there.succeeded(MODEL)
    assert await there.admit(MODEL) == 0


async def test_a_worker_keeps_its_probe_while_it_lives(here: Breakers, there: Breakers, store: Store) -> None:
    await open_by(here)
    await let_pass(store, here, there)
    assert await here.admit(MODEL) == 0
    given = int(await field(store, "until"))
    await store.run(command("HSET", store.keys.breaker(MODEL), "until", given - 10_000))
    await here.refresh()
    assert int(await field(store, "until")) >= given
    await there.refresh()
    assert await there.admit(MODEL) > 0


async def test_a_probe_whose_end_is_never_told_is_given_up(
    here: Breakers, there: Breakers, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_PROBE_SECONDS", 0)
    await open_by(here)
    await let_pass(store, here, there)
    assert await here.admit(MODEL) == 0
    await store.run(command("HSET", store.keys.breaker(MODEL), "until", "1"))
    await here.refresh()
    await there.refresh()
    assert await there.admit(MODEL) == 0


@pytest.mark.parametrize(("asked", "seconds"), [(2.0, 2), (90.0, 90), (600.0, 600), (86400.0, 600), (1.7e308, 600)])
async def test_provider_that_says_when_is_not_asked_before(
    here: Breakers, there: Breakers, asked: float, seconds: int
) -> None:
    await here.failed(MODEL, OTHER, asked)
    assert await opened_for(there) == seconds
    assert there.failure(MODEL) == OTHER


async def test_shorter_time_of_a_provider_does_not_shorten_a_longer_one(here: Breakers, there: Breakers) -> None:
    await here.failed(MODEL, FAILURE, 300)
    await there.failed(MODEL, OTHER, 2)
    assert await opened_for(there) == 300


async def test_answer_to_an_earlier_call_does_not_end_the_time_of_a_provider(here: Breakers, there: Breakers) -> None:
    await here.failed(MODEL, OTHER, 300)
    await there.refresh()
    await there.succeeded(MODEL)
    assert await opened_for(here) == 300


async def test_answer_to_an_earlier_call_shows_that_a_model_is_up(here: Breakers, there: Breakers) -> None:
    await open_by(here)
    await there.refresh()
    await there.succeeded(MODEL)
    await here.refresh()
    assert await here.admit(MODEL) == 0


async def test_a_time_that_a_provider_asked_for_is_not_doubled(here: Breakers, store: Store) -> None:
    await here.failed(MODEL, OTHER, 300)
    await let_pass(store, here)
    assert await here.admit(MODEL) == 0
    await here.failed(MODEL, FAILURE)
    assert await opened_for(here) == 2 * SECONDS


@pytest.fixture
async def counting(settings: Settings, store: Store) -> AsyncGenerator[CountingStore]:
    """A store that counts, beside the one that empties Redis before the test."""
    counting = CountingStore(settings)
    yield counting
    await counting.aclose()


async def test_a_healthy_model_costs_no_round_trip(counting: CountingStore) -> None:
    breakers = Breakers(counting, [MODEL])
    await breakers.refresh()
    counting.round_trips = 0
    for _ in range(100):
        assert await breakers.admit(MODEL) == 0
        await breakers.succeeded(MODEL)
        await breakers.released(MODEL)
    assert counting.round_trips == 0
    await open_by(breakers)
    counting.round_trips = 0
    for _ in range(100):
        assert await breakers.admit(MODEL) > 0
    assert counting.round_trips == 0, "the time is known"


async def test_all_models_are_read_in_one_round_trip(counting: CountingStore) -> None:
    breakers = Breakers(counting, [str(number) for number in range(50)])
    await breakers.refresh()
    assert counting.round_trips == 1


async def test_a_running_view_sees_what_other_workers_found(
    here: Breakers, there: Breakers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REFRESH_SECONDS", 0.01)
    running = asyncio.create_task(there.run())
    await open_by(here)
    await eventually(lambda: there.failure(MODEL) == FAILURE, description="the other worker knows of the failure")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_breakers_that_are_off_count_nothing(redis_url: str) -> None:
    store = CountingStore(Settings.model_validate({"redis_url": redis_url, "breaker_failures": 0}))
    breakers = Breakers(store, [MODEL])
    for _ in range(10):
        await breakers.failed(MODEL, FAILURE, 60)
    await breakers.run()
    assert (await breakers.admit(MODEL), store.round_trips) == (0, 0)
    await store.aclose()


async def test_every_breaker_expires(here: Breakers, store: Store) -> None:
    async def seconds() -> int:
        return await store.run(command("TTL", store.keys.breaker(MODEL)))

    await here.failed(MODEL, FAILURE)
    assert 0 < await seconds() <= 60
    await open_by(here)
    assert SECONDS < await seconds() <= SECONDS + 60
    await let_pass(store, here)
    await here.admit(MODEL)
    await here.refresh()
    assert 0 < await seconds() <= 65
    await here.failed(MODEL, FAILURE, 600)
    assert 600 < await seconds() <= 660


async def test_names_with_any_characters_have_breakers_of_their_own(store: Store) -> None:
    names = ["a", "a b", "模型", "{a}", "a:b", "org/model:8b@v1+x"]
    breakers = Breakers(store, names)
    for _ in range(LIMIT):
        await breakers.failed("{a}", FAILURE)
    await breakers.refresh()
    assert [name for name in names if await breakers.admit(name) > 0] == ["{a}"]


async def test_a_state_of_another_version_is_read_without_its_failure(here: Breakers, store: Store) -> None:
    await open_by(here)
    await store.run(command("HSET", store.keys.breaker(MODEL), "failure", "not JSON"))
    await here.refresh()
    assert await here.admit(MODEL) > 0
    assert here.failure(MODEL) is None


@asynccontextmanager
async def unreachable() -> AsyncGenerator[Store]:
    store = Store(Settings.model_validate({"redis_url": "redis://127.0.0.1:1/0", "breaker_failures": LIMIT}))
    yield store
    await store.aclose()


async def test_without_redis_every_model_is_asked(here: Breakers, monkeypatch: pytest.MonkeyPatch) -> None:
    async with unreachable() as store:
        breakers = Breakers(store, [MODEL])
        await open_by(breakers)
        await breakers.failed(MODEL, FAILURE, 300)
        await breakers.succeeded(MODEL)
        await breakers.refresh()
        assert await breakers.admit(MODEL) == 0
        # Redis goes away while the breaker is open.
        await open_by(here)
        assert await here.admit(MODEL) > 0
        monkeypatch.setattr(here, "_store", store)
        await here.refresh()
        assert (await here.admit(MODEL), here.failure(MODEL)) == (0, None)


async def test_a_key_that_is_no_breaker_is_no_obstacle(here: Breakers, store: Store) -> None:
    key = store.keys.breaker(MODEL)
    await store.run(command("SET", key, "x", "EX", 60))
    await open_by(here)
    await here.refresh()
    assert await here.admit(MODEL) == 0


async def test_user_who_may_set_no_time_to_live_leaves_no_key(tmp_path: Path) -> None:
    redis = RedisChild(tmp_path)
    redis.start()
    try:
        execute(redis, "ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-pexpire")
        url = redis.url.replace("redis://", "redis://app:pw@")
        store = Store(Settings.model_validate({"redis_url": url, "breaker_failures": LIMIT}))
        breakers = Breakers(store, [MODEL])
        await open_by(breakers)
        await breakers.failed(MODEL, FAILURE, 60)
        assert await breakers.admit(MODEL) == 0
        assert execute(redis, "KEYS", "*") == []
        await store.aclose()
    finally:
        redis.stop()
