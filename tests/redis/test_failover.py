"""A replica that lags is promoted: the lost tail is sent again, and no id names two contents."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from midsentence.events import Delta
from midsentence.ids import EventId
from midsentence.jobs import Jobs
from midsentence.log import SessionLog, Write
from midsentence.settings import Settings
from midsentence.store.store import Store
from tests.support.client import Visitor
from tests.support.processes import RedisChild, Stack
from tests.support.readers import Reader, assert_ids_name_one_content, wait_for_text
from tests.support.redis_deployments import Replicated, Sentinels, execute
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import eventually, wait_until

QUESTION = "tokens=400 rate=50 seed=26"
TEXT = "".join(text_for(QUESTION))


@pytest.fixture
def sentinels(tmp_path: Path) -> Generator[Sentinels]:
    deployment = Sentinels(tmp_path / "sentinels")
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


@pytest.fixture(params=["12"])
def watched(
    sentinels: Sentinels, tmp_path: Path, upstream: Upstream, request: pytest.FixtureRequest
) -> Generator[Stack]:
    """Servers and a worker that know only the sentinels. The parameter is the lease in seconds."""
    settings = {
        "MIDSENTENCE_REDIS_TIMEOUT_SECONDS": "1",
        "MIDSENTENCE_LEASE_SECONDS": request.param,
        "MIDSENTENCE_SECRET": "a secret of the tests alone",
    }
    stack = Stack(tmp_path, upstream, servers=2, settings=settings, redis_url=sentinels.url)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def lag(replicated: Replicated) -> None:
    """Cut the replica off. A pause alone would let it read later what waits in its socket."""
    replicated.replica.pause()
    execute(replicated.primary, "CLIENT KILL", "TYPE", "replica")


def test_the_worker_sends_a_lost_tail_again(sentinels: Sentinels, watched: Stack) -> None:
    """1.1, 8.11: Redis reports the hole, the worker fills it, and every reader has the whole text on one connection."""
    replicated = sentinels.replicated
    with Visitor(watched.base_url) as visitor:
        session_id = visitor.start(QUESTION)
        readers = [Reader(visitor, session_id, server.base_url) for server in watched.servers for _ in range(2)]
        wait_for_text(readers, 60)
        before = watched.pids
        lag(replicated)
        reached = len(readers[0].text)
        wait_for_text(readers, reached + 60)
        replicated.primary.kill()
        replicated.replica.resume()
        transcripts = [reader.wait_for_end(50) for reader in readers]
    assert {transcript.answer() for transcript in transcripts} == {TEXT}
    assert [reader.connections for reader in readers] == [1] * len(readers)
    assert watched.pids == before
    assert_ids_name_one_content(transcripts)
    assert "tail_sent_again" in watched.workers[0].log, "no tail was lost, so nothing was tested"


@pytest.mark.parametrize("watched", ["3"], indirect=True)
def test_a_reader_with_a_lost_cursor_gets_one_snapshot(sentinels: Sentinels, watched: Stack) -> None:
    """8.3: the worker is lost with the tail, so another one answers anew under a new epoch.

    The old text and the new must not be joined.
    """
    replicated = sentinels.replicated
    with Visitor(watched.base_url) as visitor:
        session_id = visitor.start(QUESTION)
        readers = [Reader(visitor, session_id, server.base_url) for server in watched.servers]
        wait_for_text(readers, 60)
        lag(replicated)
        reached = len(readers[0].text)
        wait_for_text(readers, reached + 60)
        watched.workers[0].kill()
        replicated.primary.kill()
        caught_up = [reader.transcript.cursor for reader in readers]
        replicated.replica.resume()
        wait_until(lambda: execute(replicated.replica, "ROLE")[0] == b"master", description="the replica is promoted")
        watched.workers[0].start()
        transcripts = [reader.wait_for_end(50) for reader in readers]
    assert {transcript.answer() for transcript in transcripts} == {TEXT}
    for transcript, cursor in zip(transcripts, caught_up, strict=True):
        lost = [event.id for event in transcript.events].index(cursor)
        assert [event.type for event in transcript.events[lost + 1 :]].count("snapshot") == 1
    assert_ids_name_one_content(transcripts)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncGenerator[Replicated]:
    replicated = Replicated(tmp_path)
    try:
        await asyncio.to_thread(replicated.start)
        yield replicated
    finally:
        replicated.stop()


def store_of(child: RedisChild) -> Store:
    return Store(Settings.model_validate({"redis_url": child.url, "lease_seconds": 0.2}))


async def ids(log: SessionLog, session_id: str) -> list[str]:
    return [str(event.id) for event in (await log.read(session_id, EventId(1, 0, 0))).events]


async def wait_until_in_step(pair: Replicated) -> None:
    await eventually(lambda: asyncio.to_thread(pair.is_synchronised), description="the replica is synchronised")


async def claimed_soon(jobs: Jobs, worker: str) -> list[Write]:
    """Take the turn over when its lease has expired, and write one event that names the writer."""
    claims = [claim for claim in await jobs.claim(worker, "none", 1) if claim.lease.turn]
    return [Write(claim.lease, claim.seq + 1, [(Delta.type, Delta(worker).encoded())]) for claim in claims]


@pytest.mark.anyio
async def test_an_epoch_is_not_reused_after_a_lost_claim(
    pair: Replicated,
) -> None:
    """1.1: otherwise both workers' first events would be 1.1-1, with two contents."""
    before, after = store_of(pair.primary), store_of(pair.replica)
    try:
        log = SessionLog(before)
        session_id, _ = await log.start("ann", "hello")
        await wait_until_in_step(pair)
        await asyncio.to_thread(lag, pair)
        await log.write(await claimed_soon(Jobs(before), "w1"))
        lost = await ids(log, session_id)
        pair.primary.kill()
        pair.replica.resume()
        await asyncio.to_thread(execute, pair.replica, "REPLICAOF", "NO", "ONE")
        log = SessionLog(after)
        await log.write(await claimed_soon(Jobs(after), "w2"))
        again = await ids(log, session_id)
        assert len(lost) == len(again) == 1
        assert set(lost).isdisjoint(again)
        assert (await log.read(session_id, EventId.parse(lost[0]))).fold is not None, (
            "a lost cursor must not be honoured"
        )
    finally:
        await before.aclose()
        await after.aclose()


@pytest.mark.anyio
async def test_a_message_id_is_not_reused_after_a_lost_message(pair: Replicated) -> None:
    """1.1: otherwise the lost message and the next one would both be 2.0-0."""
    before, after = store_of(pair.primary), store_of(pair.replica)
    try:
        log = SessionLog(before)
        session_id, _ = await log.start("ann", "hello")
        (claim,) = await Jobs(before).claim("w1", "none", 1)
        folded = b'[{"turn":1,"parent":0,"role":"user","text":"hello","end":null}]'
        await log.write([Write(claim.lease, 1, [("end", b'{"reason":"stop"}')], folded)])
        await wait_until_in_step(pair)
        await asyncio.to_thread(lag, pair)
        await log.submit(session_id, "ann", "the one that is lost")
        lost = (await log.read(session_id)).top
        pair.primary.kill()
        pair.replica.resume()
        await asyncio.to_thread(execute, pair.replica, "REPLICAOF", "NO", "ONE")
        log = SessionLog(after)
        await log.submit(session_id, "ann", "another")
        again = await log.read(session_id, lost)
        assert again.top != lost
        assert (again.top.turn, again.top.seq) == (lost.turn, lost.seq)
        assert again.fold is not None
    finally:
        await before.aclose()
        await after.aclose()
