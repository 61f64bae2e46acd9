"""Which partitions a worker asks for turns: those that a wake-up names, and from time to time all of them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from midsentence import keys
from midsentence.errors import StoreUnavailableError
from midsentence.events import Delta
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.scripts import Request
from midsentence.store.store import Store
from midsentence_worker import worker as worker_module
from midsentence_worker.models.base import Finish, Message, Piece
from midsentence_worker.models.demo import DemoModel
from midsentence_worker.worker import Worker
from tests.support.fake_redis import fake_redis
from tests.support.keys import KEYS
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

PARTITIONS = 16
NEVER = 1e9


class QuickModel(DemoModel):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def warm_up(self) -> None:
        pass

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        del mark
        self.asked += 1
        await self.may_answer.wait()
        yield Delta(messages[-1].text)
        yield Finish("stop", None)


class RecordingStore(Store):
    """Records the partitions that each round trip asks for turns."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.claims: list[set[int]] = []
        self.gone: set[int] = set()

    async def execute_all(self, requests: Sequence[Request]) -> list[Any]:
        asked = [PARTITION_OF[request.key] for request in requests if request.script and request.script.name == "claim"]
        if not asked:
            return await super().execute_all(requests)
        self.claims.append(set(asked))
        replies = await super().execute_all(requests)
        return [
            StoreUnavailableError("gone") if number in self.gone else reply
            for number, reply in zip(asked, replies, strict=True)
        ]

    @property
    def asked(self) -> set[int]:
        return set[int]().union(*self.claims)


PARTITION_OF = {KEYS.partition(number).jobs: number for number in range(PARTITIONS)}


class SubscribedWorker(Worker):
    """Counts the channels whose subscription was confirmed."""

    confirmed = 0

    def subscribed(self) -> None:
        super().subscribed()
        self.confirmed += 1

    @property
    def is_settled(self) -> bool:
        """Whether it listens to all partitions, and no partition waits to be asked."""
        return self.confirmed >= PARTITIONS and not self._to_claim


@pytest.fixture
def concurrency() -> int:
    return 64


@pytest.fixture
async def store(concurrency: int) -> AsyncGenerator[RecordingStore]:
    async with fake_redis() as url:
        store = RecordingStore(
            Settings.model_validate({"redis_url": url, "partitions": PARTITIONS, "worker_concurrency": concurrency})
        )
        yield store
        await store.aclose()


@pytest.fixture
def sweep_seconds() -> float:
    return NEVER


@pytest.fixture
async def model() -> QuickModel:
    return QuickModel()


@pytest.fixture
async def worker(
    store: RecordingStore, model: QuickModel, sweep_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Worker]:
    """A worker that has asked all partitions at its start and after its first subscriptions."""
    monkeypatch.setattr(worker_module, "_SWEEP_SECONDS", sweep_seconds)
    worker = SubscribedWorker(store.settings, store, {model.name: model})
    running = asyncio.create_task(worker.run())
    # How often it asks until then depends on whether it subscribes before or after its first claim.
    await eventually(
        lambda: worker.is_settled and store.asked == set(range(PARTITIONS)), description="it started and subscribed"
    )
    store.claims.clear()
    yield worker
    worker.drain()
    await running


async def answered(log: SessionLog, sessions: Sequence[str]) -> bool:
    return all([(await log.read(session_id)).state == "idle" for session_id in sessions])


@pytest.mark.usefixtures("worker")
async def test_a_wake_up_makes_a_worker_ask_its_partition_alone(store: RecordingStore) -> None:
    log = SessionLog(store)

    async def asks_one() -> bool:
        """Whether only that partition was asked; subscriptions that end late make the worker ask all once more."""
        store.claims.clear()
        session_id, _ = await log.start("ann", "hello")
        await eventually(lambda: answered(log, [session_id]), description="the turn ends")
        return store.asked == {keys.partition_of(session_id)}

    await eventually(asks_one, description="it asks one partition")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("concurrency", [1])
async def test_turns_that_had_to_wait_are_claimed_as_others_end(store: RecordingStore) -> None:
    """The worker runs one turn at a time, and no other wake-up follows."""
    log = SessionLog(store)
    sessions = [(await log.start("ann", "hello")).session_id for _ in range(20)]
    await eventually(lambda: answered(log, sessions), description="all turns end")


@pytest.mark.parametrize("sweep_seconds", [0.1])
async def test_wake_ups_do_not_keep_a_worker_from_asking_all(store: RecordingStore, worker: Worker) -> None:
    """Nothing announces an expired lease."""

    def has_swept() -> bool:
        worker.published(b"00" + b"x" * 22)
        return store.asked == set(range(PARTITIONS))

    await eventually(has_swept, description="it asks all again and again")


@pytest.mark.parametrize("concurrency", [1, 64])
async def test_a_partition_that_cannot_be_asked_alone_is_no_outage(store: RecordingStore, worker: Worker) -> None:
    """After an outage a worker waits for a third of a lease before it claims."""
    store.gone.add(0)
    worker.published(b"00" + b"x" * 22)
    await eventually(lambda: len(store.asked) == PARTITIONS, description="it asks all")
    log = SessionLog(store)
    session_id = ""
    while keys.partition_of(session_id or "00") == 0:
        session_id, _ = await log.start("ann", "hello")
    async with asyncio.timeout(store.settings.lease_seconds / 3):
        await eventually(lambda: answered(log, [session_id]), description="the turn ends")


@pytest.mark.usefixtures("worker")
async def test_a_crowd_of_turns_is_claimed_in_parts(
    store: RecordingStore, model: QuickModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other workers get the rest; a worker that is alone claims on while its turns run."""
    claim, all_wait, parts = Jobs.claim, asyncio.Event(), list[int]()

    async def claim_late(
        jobs: Jobs, worker: str, model: str, limit: int, partitions: set[int], *, others: Sequence[str]
    ) -> list[Claim]:
        await all_wait.wait()
        claims = await claim(jobs, worker, model, limit, partitions, others=others)
        # A subscription that is confirmed late makes the worker sweep, and a sweep has no such limit.
        if len(partitions) < PARTITIONS:
            parts.append(len(claims))
        return claims

    monkeypatch.setattr(Jobs, "claim", claim_late)
    model.may_answer.clear()
    log = SessionLog(store)
    # In fewer partitions than there are: a worker that is to ask all of them sweeps.
    sessions = [(await log.start("ann", "hello")).session_id for _ in range(PARTITIONS - 1)]
    all_wait.set()
    await eventually(lambda: model.asked == len(sessions), description="all turns run")
    assert max(parts, default=0) <= 8
    model.may_answer.set()
    await eventually(lambda: answered(log, sessions), description="all turns end")
