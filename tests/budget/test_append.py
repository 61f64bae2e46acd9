"""The cost of an append in the worker, in calls of functions: the number does not depend on the machine's load."""

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
from tests.support.call_counter import count_calls
from tests.support.memory_socket import MemorySocket

pytestmark = pytest.mark.anyio

TURNS, ROUNDS, TOKENS = 50, 20, 3
# Iterations of the event loop in which everything that was added is sent and answered.
LOOPS = 10
# CallCounter of Python and C functions for one append of three tokens, from `add` to the outcome.
BUDGET = 76


def ok(requests: bytes) -> bytes:
    """What a Redis answers that accepts every append."""
    return b":0\r\n" * requests.count(b"EVALSHA")


async def connect() -> MemorySocket:
    return MemorySocket(ok)


async def added_and_answered(writers: list[TurnWriter]) -> None:
    for writer in writers:
        for _ in range(TOKENS):
            writer.add(Delta(" token"))
    for _ in range(LOOPS):
        await asyncio.sleep(0)


async def test_an_append_stays_within_its_budget_of_calls() -> None:
    """Packing the lease at every append (82 calls), or scheduling every token (81), would exceed it."""
    store = Store(Settings.model_validate({"redis_url": "redis://127.0.0.1:1"}))
    store.topology = Single(Node(connect, "memory", 1))
    batcher = AppendBatcher(SessionLog(store), 0)
    sending = asyncio.create_task(batcher.run())
    writers = [TurnWriter(Lease(f"00{number:022d}", 1, 1, "a worker"), 0, batcher) for number in range(TURNS)]
    await added_and_answered(writers)
    assert [writer.has_unwritten for writer in writers] == [False] * TURNS
    with count_calls() as calls:
        for _ in range(ROUNDS):
            await added_and_answered(writers)
    sending.cancel()
    await store.aclose()
    assert calls.count / (TURNS * ROUNDS) <= BUDGET
