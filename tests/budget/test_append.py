"""The cost of an append, in numbers that do not depend on the machine's load.

In the worker they are calls of functions, in Redis commands.
"""

import asyncio
from pathlib import Path

import pytest

from midsentence.events import Delta
from midsentence.jobs import Jobs
from midsentence.lease import Lease
from midsentence.log import SessionLog, Write, Written
from midsentence.settings import Settings
from midsentence.store.node import Node
from midsentence.store.store import Store
from midsentence.store.topology import Single
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.turn_writer import TurnWriter
from tests.support.call_counter import count_calls
from tests.support.memory_socket import MemorySocket
from tests.support.processes import RedisChild
from tests.support.redis_deployments import execute

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


async def test_an_append_in_order_runs_four_commands(tmp_path: Path) -> None:
    """An append that append_in_order.lua leaves to the rest of the script runs HMGET twice."""
    redis = RedisChild(tmp_path)
    redis.start()
    try:
        store = Store(Settings.model_validate({"redis_url": redis.url}))
        log = SessionLog(store)
        await log.start("ann", "hello")
        (claim,) = await Jobs(store).claim("a worker", "a model", 1)
        execute(redis, "CONFIG", "RESETSTAT")
        for seq in range(1, ROUNDS + 1):
            write = Write(claim.lease, seq, [(Delta.type, Delta(" token").encoded())], None, f"mark {seq}")
            assert await log.write([write]) == [Written("ok", seq)]
        await store.aclose()
        stats = execute(redis, "INFO", "commandstats")
    finally:
        redis.stop()
    calls = {name: stats[f"cmdstat_{name}"]["calls"] for name in ("hmget", "xadd", "hset", "spublish")}
    # The first append follows the message, which has another epoch.
    assert calls == {"hmget": ROUNDS + 1, "xadd": ROUNDS, "hset": ROUNDS, "spublish": ROUNDS}
