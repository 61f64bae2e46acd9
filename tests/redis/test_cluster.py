"""A cluster whose slots move, or whose master dies, while sessions are written and read."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Generator

import pytest
from redis.crc import key_slot

from midsentence.errors import StoreUnavailableError
from midsentence.events import Delta
from midsentence.jobs import Jobs
from midsentence.log import SessionLog, Write, Written
from midsentence.settings import Settings
from midsentence.store.scripts import command
from midsentence.store.store import Store
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.turn_writer import TurnWriter
from tests.support.client import Visitor
from tests.support.keys import KEYS
from tests.support.processes import Stack
from tests.support.readers import Reader, assert_ids_name_one_content, wait_for_text
from tests.support.redis_deployments import Member, RedisCluster, execute
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import eventually, wait_until

SESSIONS = 40
SETTINGS = {
    "MIDSENTENCE_REDIS_TIMEOUT_SECONDS": "1",
    "MIDSENTENCE_LEASE_SECONDS": "12",
    "MIDSENTENCE_PARTITIONS": "8",
    "MIDSENTENCE_SECRET": "a secret of the tests alone",
}
SLOTS = [key_slot(KEYS.partition(number).jobs.encode()) for number in range(8)]
SEED = 27


@pytest.fixture(scope="module", params=[0])
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Generator[RedisCluster]:
    deployment = RedisCluster(tmp_path_factory.mktemp("cluster"), replicas=request.param)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


@pytest.fixture(scope="module")
def stack(cluster: RedisCluster, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with Upstream() as upstream:
        directory = tmp_path_factory.mktemp("stack")
        stack = Stack(directory, upstream, servers=2, settings=SETTINGS, redis_url=cluster.url)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


def readers_of(stack: Stack, visitor: Visitor, tokens: int) -> tuple[list[str], list[Reader]]:
    questions = [f"tokens={tokens} rate=8 seed={SEED + number}" for number in range(SESSIONS)]
    readers: list[Reader] = []
    for number, question in enumerate(questions):
        server = stack.servers[number % len(stack.servers)]
        readers.append(Reader(visitor, visitor.start(question), server.base_url))
    return questions, readers


def assert_complete(questions: list[str], readers: list[Reader], snapshots: int = 1) -> None:
    transcripts = [reader.wait_for_end(40) for reader in readers]
    for question, reader, transcript in zip(questions, readers, transcripts, strict=True):
        assert transcript.answer() == "".join(text_for(question))
        assert reader.connections == 1, "a reader had to reconnect"
        assert transcript.snapshots <= snapshots
        assert_ids_name_one_content([transcript])


def other_than(cluster: RedisCluster, owner: Member, chance: random.Random) -> Member:
    return chance.choice([master for master in cluster.masters if master is not owner])


def wait_for_owner(cluster: RedisCluster, slot: int, target: Member) -> None:
    def agreed() -> bool:
        try:
            return cluster.owner(slot) is target
        except ValueError:
            return False

    wait_until(agreed, description=f"all nodes agree on the owner of slot {slot}")


def migrate_whole(cluster: RedisCluster, slot: int, target: Member) -> None:
    """Move a slot as Valkey 9 does: the target replicates it, and takes it over in one step."""
    owner = cluster.owner(slot)
    execute(owner, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", cluster.id_of(target))
    wait_for_owner(cluster, slot, target)


def migrate_by_key(cluster: RedisCluster, slot: int, target: Member) -> None:
    """Move a slot as every version can: key by key, while its keys lie on both nodes."""
    owner = cluster.owner(slot)
    execute(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id_of(owner))
    execute(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id_of(target))
    while names := execute(owner, "CLUSTER", "GETKEYSINSLOT", slot, 10):
        execute(owner, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)
    for node in (target, owner, *cluster.masters):
        execute(node, "CLUSTER", "SETSLOT", slot, "NODE", cluster.id_of(target))
    wait_for_owner(cluster, slot, target)


@pytest.fixture
async def store(cluster: RedisCluster) -> AsyncGenerator[Store]:
    store = Store(
        Settings.model_validate({"redis_url": cluster.url, "redis_timeout_seconds": 0.5, "partitions": len(SLOTS)})
    )
    yield store
    await store.aclose()


@pytest.mark.anyio
async def test_a_paused_node_does_not_fail_calls_to_the_other_nodes(cluster: RedisCluster, store: Store) -> None:
    """The first call waits for the time-out; the next one fails at once, since the node is known to be down."""
    log, jobs = SessionLog(store), Jobs(store)
    sessions = {(await log.start("ann", f"question {number}")).session_id for number in range(24)}
    claims = [claim for claim in await jobs.claim("w1", "none", 64) if claim.lease.session_id in sessions]
    paused = cluster.masters[1]
    paused.pause()
    try:
        for first, bound in ((1, 1.0), (1, 0.2)):
            begun = time.monotonic()
            outcomes = await log.write(
                [Write(claim.lease, first, [(Delta.type, Delta("a").encoded())]) for claim in claims]
            )
            assert time.monotonic() - begun < bound
            for claim, outcome in zip(claims, outcomes, strict=True):
                is_there = cluster.owner(slot_of(claim.lease.session_id), [cluster.masters[0]]) is not paused
                assert isinstance(outcome, Written if is_there else StoreUnavailableError)
            assert {type(outcome) for outcome in outcomes} == {Written, StoreUnavailableError}
    finally:
        paused.resume()

    async def heals() -> bool:
        outcomes = await log.write([Write(claim.lease, 1, [(Delta.type, Delta("a").encoded())]) for claim in claims])
        return all(isinstance(outcome, Written) for outcome in outcomes)

    await eventually(heals, description="the node is used again")


@pytest.mark.anyio
async def test_a_paused_node_does_not_delay_the_appends_of_the_other_nodes_turns(cluster: RedisCluster) -> None:
    """They would wait for the time-out, which is longer than this test."""
    store = Store(
        Settings.model_validate({"redis_url": cluster.url, "redis_timeout_seconds": 60, "partitions": len(SLOTS)})
    )
    log, jobs = SessionLog(store), Jobs(store)
    batcher = AppendBatcher(log, 0.01)
    sending = asyncio.create_task(batcher.run())
    paused = cluster.masters[1]
    try:
        sessions = {(await log.start("ann", f"question {number}")).session_id for number in range(24)}
        claims = [claim for claim in await jobs.claim("w1", "none", 64) if claim.lease.session_id in sessions]
        writers = {claim.lease.session_id: TurnWriter(claim.lease, claim.seq, batcher) for claim in claims}
        there = {
            session_id
            for session_id in sessions
            if cluster.owner(slot_of(session_id), [cluster.masters[0]]) is not paused
        }
        paused.pause()
        for _ in range(3):
            for writer in writers.values():
                writer.add(Delta("a"))
            await eventually(
                lambda: {session_id for session_id, writer in writers.items() if not writer.has_unwritten} == there,
                description="the turns of the other nodes are written",
            )
        paused.resume()
        await eventually(
            lambda: not any(writer.has_unwritten for writer in writers.values()), description="all are written"
        )
    finally:
        paused.resume()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await store.aclose()


@pytest.mark.anyio
async def test_scripts_are_loaded_on_each_node_that_lacks_them(cluster: RedisCluster, store: Store) -> None:
    """A NOSCRIPT reply makes the client send SCRIPT LOAD to that node."""
    log = SessionLog(store)
    ids = [(await log.start("ann", f"question {number}")).session_id for number in range(12)]
    execute(cluster.masters[2], "SCRIPT", "FLUSH")
    for session_id in ids:
        assert (await log.read(session_id)).turn == 1


@pytest.mark.anyio
async def test_a_redis_url_of_one_cluster_node_is_refused_with_advice(cluster: RedisCluster) -> None:
    store = Store(Settings.model_validate({"redis_url": cluster.masters[0].url}))
    try:
        foreign = next(number for number in range(8) if cluster.owner(SLOTS[number]) is not cluster.masters[0])
        mark = f"{KEYS.partition(foreign).prefix}mark"
        with pytest.raises(StoreUnavailableError, match=r"begins with redis\+cluster://"):
            await store.execute(command("GET", mark))
    finally:
        await store.aclose()


@pytest.mark.parametrize("migrate", [migrate_whole, migrate_by_key])
def test_readers_keep_their_streams_while_slots_move(
    cluster: RedisCluster, stack: Stack, migrate: Callable[[RedisCluster, int, Member], None]
) -> None:
    """All slots that hold sessions move once, while they are written and read; no event is lost.

    The gaps show that the moved subscriptions are made again at once, not by the next poll.
    """
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    with Visitor(stack.base_url) as visitor:
        questions, readers = readers_of(stack, visitor, tokens=80)
        wait_for_text(readers, 16)
        before = stack.pids
        for slot in SLOTS:
            migrate(cluster, slot, other_than(cluster, cluster.owner(slot), chance))
        assert_complete(questions, readers)
        assert max(max(reader.gaps) for reader in readers) < 2.5, "the move was found only by polling"
    assert stack.pids == before


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_sessions_of_other_masters_go_on_while_one_is_replaced(cluster: RedisCluster, stack: Stack) -> None:
    """A master is killed and its replica promoted.

    The sessions of its slots wait for the election, and lose no event.
    """
    with Visitor(stack.base_url) as visitor:
        questions, readers = readers_of(stack, visitor, tokens=80)
        wait_for_text(readers, 16)
        before = stack.pids
        dead = cluster.masters[0]
        orphans = {slot for slot in SLOTS if cluster.owner(slot) is dead}
        dead.kill()
        assert_complete(questions, readers, snapshots=2)
        spared = [reader for reader in readers if slot_of(reader.transcript.session_id) not in orphans]
        assert len(spared) < len(readers)
        assert max(max(reader.gaps) for reader in spared) < 2.0
        assert visitor.read(visitor.start("tokens=20 rate=200 seed=31")).end() == "stop"
    assert stack.pids == before


def slot_of(session_id: str) -> int:
    return key_slot(KEYS.session(session_id).meta.encode())
