"""The cost of a token in the worker, from the provider's socket to the log's, in calls of functions."""

import asyncio
from collections.abc import Sequence
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import pytest

from midsentence.events import Event
from midsentence.events import Message as UserMessage
from midsentence.fold import Fold
from midsentence.ids import EventId
from midsentence.jobs import Claim, Jobs
from midsentence.lease import Lease
from midsentence.log import SessionLog, Write, Written
from midsentence.settings import Settings
from midsentence.store.node import Node
from midsentence.store.store import Store
from midsentence.store.topology import Single
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.models import stream_poller
from midsentence_worker.turn import Turn
from tests.support.call_counter import count_calls
from tests.support.memory_socket import MemorySocket
from tests.support.model_client import model_at
from tests.support.turns import turn_services
from tests.support.upstream import Answer, Upstream

pytestmark = pytest.mark.anyio

WARM_UP, TOKENS = 20, 100
# By API and by how many tokens come between two ticks. The most expensive case is a token that comes alone and is
# appended alone, without ticks.
BUDGETS = {("chat", 1): 226, ("chat", 10): 65, ("responses", 1): 256, ("responses", 10): 90}
# The event loop's own calls depend on how often it turns.
WITHOUT = ("asyncio.base_events", "asyncio.events", "asyncio.selector_events", "selectors", "tests", __name__)


class CountingLog(SessionLog):
    """A log that knows one question and counts the tokens that Redis has."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.tokens = 0
        self._awaited = 0
        self._written: asyncio.Future[None] | None = None

    async def has(self, tokens: int) -> None:
        self._awaited = tokens
        self._written = asyncio.get_running_loop().create_future()
        await self._written

    async def read(self, *_: Any, **__: Any) -> Any:
        fold = Fold()
        fold.apply(Event(EventId(1, 1, 0), UserMessage.type, UserMessage("user", "Hello?", 1, 0).encoded()))
        return SimpleNamespace(fold=fold)

    async def write(self, writes: Sequence[Write]) -> list[Written | Exception]:
        outcomes = await super().write(writes)
        self.tokens += sum(data.count(b" token") for write in writes for _, data in write.events)
        if self._written is not None and self.tokens >= self._awaited and not self._written.done():
            self._written.set_result(None)
        return outcomes


class NoJobs:
    async def release(self, _lease: Lease, *, counts: bool) -> None:
        assert not counts


async def connect() -> MemorySocket:
    return MemorySocket(lambda requests: b":0\r\n" * requests.count(b"EVALSHA"))


@pytest.mark.parametrize(("api", "together"), BUDGETS)
async def test_a_token_stays_within_its_budget_of_calls(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, api: str, together: int
) -> None:
    monkeypatch.setattr(stream_poller, "FEW_STREAMS", 0)
    # One token more, so that the answer does not end.
    answer = Answer(tokens=[" token"] * (WARM_UP + TOKENS + 1), gate=True)
    upstream.answers.append(answer)
    store = Store(Settings.model_validate({"redis_url": "redis://127.0.0.1:1"}))
    store.topology = Single(Node(connect, "memory", 1))
    log = CountingLog(store)
    flush_ms = 0 if together == 1 else 25
    batcher = AppendBatcher(log, flush_ms / 1000)
    sending = asyncio.create_task(batcher.run())

    async def tokens(count: int) -> list[int]:
        """Read and append tokens, and return the calls that each of them took."""
        counts: list[int] = []
        for _ in range(count // together):
            with count_calls(without=WITHOUT) as calls:
                answer.release(together)
                await log.has(log.tokens + together)
            counts.append(calls.count)
        return counts

    async with model_at(upstream.url, api=api, flush_ms=flush_ms) as model:
        services = turn_services([model], log, batcher)._replace(jobs=cast("Jobs", NoJobs()))
        turn = Turn(Claim(Lease("00" + "s" * 22, 1, 1, "a worker"), 0, 1), services)
        running = asyncio.create_task(turn.run())
        await tokens(WARM_UP)
        # The median, since garbage of other tests may be finalized meanwhile.
        calls = median(await tokens(TOKENS)) / together
        running.cancel()
        await asyncio.wait([running])
    sending.cancel()
    await store.aclose()
    assert calls <= BUDGETS[api, together]
