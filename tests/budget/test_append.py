"""What an append costs a worker, counted in calls of functions: a number that no busy machine changes."""

import asyncio

import pytest

from midsentence.events import Delta
from midsentence.lease import Lease
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.node import Node
from midsentence.store.store import Store
from midsentence.store.topology import Single
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.turn_writer import TurnWriter
from tests.support.calls import counted
from tests.support.redis_sockets import MemorySocket

pytestmark = pytest.mark.anyio

TURNS, ROUNDS, TOKENS = 50, 20, 3
# Turns of the event loop in which all that was added is surely sent and answered.
LOOPS = 10
# Calls of Python and of C for one append of three tokens, from `add` to `settle`. 71 when it was written.
BUDGET = 76


def ok(requests: bytes) -> bytes:
    """What a Redis answers that accepts every append."""
    return b":0\r\n" * requests.count(b"EVALSHA")


async def connect() -> MemorySocket:
    return MemorySocket(ok)


async def added_and_settled(writers: list[TurnWriter]) -> None:
    for writer in writers:
        for _ in range(TOKENS):
            writer.add(Delta(" token"))
    for _ in range(LOOPS):
        await asyncio.sleep(0)


async def test_an_append_stays_within_its_budget_of_calls() -> None:
    """Seen red with a lease packed anew at every append (82), and with every token scheduled (81)."""
    store = Store(Settings.model_validate({"redis_url": "redis://127.0.0.1:1"}))
    store.topology = Single(Node(connect, "memory", 1))
    batcher = AppendBatcher(SessionLog(store), 0)
    sending = asyncio.create_task(batcher.run())
    writers = [TurnWriter(Lease(f"00{number:022d}", 1, 1, "a worker"), 0, batcher) for number in range(TURNS)]
    await added_and_settled(writers)
    assert [writer.has_unwritten for writer in writers] == [False] * TURNS
    with counted() as calls:
        for _ in range(ROUNDS):
            await added_and_settled(writers)
    sending.cancel()
    await store.aclose()
    assert calls.count / (TURNS * ROUNDS) <= BUDGET
