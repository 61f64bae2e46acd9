"""A worker claims as many turns as its core can carry."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

import pytest
import structlog

from midsentence.jobs import Claim
from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence_worker import worker as worker_module
from midsentence_worker.load import LoadMeter
from midsentence_worker.models.demo import DemoModel
from midsentence_worker.worker import Worker
from tests.support.waiting import eventually


@asynccontextmanager
async def a_worker() -> AsyncGenerator[Worker]:
    settings = Settings.model_validate({"redis_url": "redis://127.0.0.1:1/0", "worker_concurrency": 64})
    store = Store(settings)
    yield Worker(settings, store, {"demo": DemoModel()})
    await store.aclose()


def measured(busy: float, late: float = 0.0, seconds: float = 10) -> LoadMeter:
    meter = LoadMeter()
    take(meter, busy, late, seconds)
    return meter


def take(meter: LoadMeter, busy: float, late: float = 0.0, seconds: float = 10) -> None:
    for _ in range(round(seconds / 0.25)):
        meter.sample(0.25, busy * 0.25, late)


@pytest.mark.parametrize(
    ("busy", "late", "room"),
    [(0.1, 0, None), (0.45, 0, 64), (0.6, 0, 32), (0.89, 0, 1), (0.95, 0, 0), (1.2, 0, 0), (0.1, 0.2, 0)],
)
def test_room_is_what_the_core_has_left(busy: float, late: float, room: int | None) -> None:
    assert measured(busy, late).room(64) == room


def test_worker_without_turns_always_has_room() -> None:
    assert measured(1.0, 1.0).room(0) is None


def test_overloaded_worker_claims_again_only_well_below_its_limit() -> None:
    meter = measured(0.95)
    take(meter, 0.85)
    assert meter.room(64) == 0
    take(meter, 0.7)
    assert meter.room(64) == 18


def test_one_busy_moment_is_no_overload() -> None:
    meter = measured(0.3)
    take(meter, 1.0, 0.1, seconds=0.5)
    assert not meter.is_overloaded


@pytest.mark.anyio
async def test_overloaded_worker_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = 0

    def sample(meter: LoadMeter, *_: float) -> None:
        nonlocal samples
        samples += 1
        meter.is_overloaded = True

    monkeypatch.setattr(LoadMeter, "sample", sample)
    monkeypatch.setattr(worker_module, "_LOAD_SECONDS", 0.001)
    async with a_worker() as worker:
        monkeypatch.setattr(worker, "_turns", dict.fromkeys(range(3)))
        with structlog.testing.capture_logs() as logs:
            measuring = asyncio.create_task(worker._measure_load())  # pyright: ignore[reportPrivateUsage]
            await eventually(lambda: samples > 5, description="the load was measured")
            measuring.cancel()
    assert [(entry["event"], entry["turns"]) for entry in logs] == [("worker_overloaded", 3)]


class RecordingJobs:
    def __init__(self) -> None:
        self.limits: list[int] = []

    @property
    def partitions(self) -> range:
        return range(4)

    async def claim(
        self, _worker: str, _model: str, limit: int, partitions: Collection[int], *, others: Collection[str]
    ) -> list[Claim]:
        del others
        assert set(partitions) == set(self.partitions)
        self.limits.append(limit)
        return []


@pytest.mark.anyio
@pytest.mark.parametrize(("room", "limits"), [(None, [61]), (5, [5]), (99, [61]), (0, [])])
async def test_worker_claims_what_it_has_room_for(
    monkeypatch: pytest.MonkeyPatch, room: int | None, limits: list[int]
) -> None:
    jobs = RecordingJobs()

    def room_of(_meter: LoadMeter, running: int) -> int | None:
        assert running == 3
        return room

    monkeypatch.setattr(LoadMeter, "room", room_of)
    async with a_worker() as worker:
        monkeypatch.setattr(worker, "_jobs", jobs)
        monkeypatch.setattr(worker, "_turns", dict.fromkeys(range(3)))
        worker.subscribed()
        await worker._claim()  # pyright: ignore[reportPrivateUsage]
    assert jobs.limits == limits
