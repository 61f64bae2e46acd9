"""Claims, appends, ends: what a worker may do to the log, and what is refused."""

import msgspec
import pytest

from midsentence.errors import SessionNotFoundError
from midsentence.events import Delta, End, Entry
from midsentence.fold import stored_turn
from midsentence.ids import EventId
from midsentence.jobs import Claim, Jobs, Renewal
from midsentence.lease import Lease
from midsentence.log import SessionLog, Write, Written
from midsentence.store.scripts import command
from midsentence.store.store import Store
from tests.log.conftest import with_sentinel
from tests.support.keys import KEYS
from tests.support.redis_deployments import execute_on_all
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

END = (End.type, End("stop").encoded())


def deltas(*texts: str) -> list[tuple[str, bytes]]:
    return [(Delta.type, Delta(text).encoded()) for text in texts]


def folded(question: str, answer: str, turn: int = 1) -> bytes:
    return stored_turn([Entry(turn, turn - 1, "user", question), Entry(turn, turn - 1, "assistant", answer, "stop")])


async def claimed(jobs: Jobs, worker: str = "w1") -> Claim:
    (claim,) = await jobs.claim(worker, "demo", 64)
    return claim


async def written(log: SessionLog, write: Write) -> Written:
    (outcome,) = await log.write([write])
    assert isinstance(outcome, Written), outcome
    return outcome


async def ids(log: SessionLog, session_id: str) -> list[str]:
    view = await log.read(session_id, EventId(1, 0, 0))
    return [str(event.id) for event in view.events]


@with_sentinel
async def test_a_turn_is_claimed_once(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    assert await jobs.claim("w1", "demo", 64) == [Claim(Lease(session_id, 1, 1, "w1"), 0, 1, model="demo")]
    assert await jobs.claim("w2", "demo", 64) == []
    view = await log.read(session_id)
    assert (view.state, view.model) == ("streaming", "demo")


async def test_a_claim_takes_no_more_turns_than_its_limit(log: SessionLog, jobs: Jobs) -> None:
    for number in range(9):
        await log.start("ann", f"question {number}")
    shares = [len(await jobs.claim("w1", "demo", limit)) for limit in (2, 3, 64)]
    assert shares == [2, 3, 4]


@with_sentinel
async def test_appends_are_numbered_without_a_hole(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    claim = await claimed(jobs)
    assert await written(log, Write(claim.lease, 1, deltas("a", "b"))) == Written("ok", 2)
    assert await written(log, Write(claim.lease, 3, deltas("c"))) == Written("ok", 3)
    assert await ids(log, session_id) == ["1.1-1", "1.1-2", "1.1-3"]


async def test_a_repeated_append_is_written_once(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    claim = await claimed(jobs)
    await written(log, Write(claim.lease, 1, deltas("a", "b")))
    assert await written(log, Write(claim.lease, 1, deltas("a", "b", "c"))) == Written("ok", 3)
    view = await log.read(session_id)
    assert view.fold is not None
    assert view.fold.messages()[-1].text == "abc"


async def test_an_append_that_leaves_a_hole_is_refused_with_the_last_seq(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    claim = await claimed(jobs)
    await written(log, Write(claim.lease, 1, deltas("a")))
    assert await written(log, Write(claim.lease, 3, deltas("c"))) == Written("hole", 1)
    assert await written(log, Write(claim.lease, 3, [END], folded("hello", "?"))) == Written("hole", 1)
    assert await ids(log, session_id) == ["1.1-1"]


@with_sentinel
async def test_only_an_expired_lease_is_taken_over_and_its_holder_is_fenced(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    first = await claimed(jobs)
    await written(log, Write(first.lease, 1, deltas("a")))
    assert await jobs.renew([first.lease]) == [Renewal.HELD]
    assert await jobs.claim("w2", "demo", 64) == []

    taken: list[Claim] = []

    async def takes_over() -> list[Claim]:
        taken.extend(await jobs.claim("w2", "demo", 64))
        return taken

    await eventually(takes_over, description="the lease runs out", seconds=3)
    assert taken == [Claim(Lease(session_id, 1, 2, "w2"), 1, 2, model="demo")]
    assert await written(log, Write(first.lease, 2, deltas("zombie"))) == Written("fenced", 0)
    assert await written(log, Write(first.lease, 2, [END], folded("hello", "zombie"))) == Written("fenced", 0)
    assert await jobs.renew([first.lease]) == [Renewal.LOST]
    assert await written(log, Write(taken[0].lease, 2, deltas("b"))) == Written("ok", 2)
    assert await ids(log, session_id) == ["1.1-1", "1.2-2"]


async def test_a_released_turn_is_claimed_at_once_and_costs_no_attempt(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    first = await claimed(jobs)
    await jobs.release(first.lease, counts=False)
    assert (await log.read(session_id)).state == "queued"
    assert await claimed(jobs, "w2") == Claim(Lease(session_id, 1, 2, "w2"), 0, 1, model="demo")
    assert await written(log, Write(first.lease, 1, deltas("late"))) == Written("fenced", 0)


async def test_forty_restarts_of_redis_reuse_no_epoch(log: SessionLog, jobs: Jobs, store: Store) -> None:
    """1.1: nor do they use up the three digits of an epoch."""
    session_id, _ = await log.start("ann", "hello")
    epochs: list[int] = []
    for number in range(40):
        claim = await claimed(jobs)
        epochs.append(claim.lease.epoch)
        await jobs.release(claim.lease, counts=False)
        await store.execute(command("HSET", KEYS.session(session_id).meta, "run", f"a process that is gone, {number}"))
    assert epochs == sorted(set(epochs))
    assert epochs[-1] < 990


async def test_an_end_begins_the_next_turn_in_the_same_step(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", "two\nlines")
    claim = await claimed(jobs)
    await written(log, Write(claim.lease, 1, [*deltas("1"), END], folded("one", "1")))
    view = await log.read(session_id, EventId(1, 0, 0))
    assert [str(event.id) for event in view.events] == ["1.1-1", "1.1-2", "2.0-0"]
    message = msgspec.json.decode(view.events[-1].data)
    assert message == {"role": "user", "text": "two\nlines", "turn": 2, "parent": 1}
    assert (view.state, view.turn, view.queued) == ("queued", 2, [])
    assert (await claimed(jobs)).lease == Lease(session_id, 2, 1, "w1")


async def test_a_repeated_end_is_written_once(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", "two")
    claim = await claimed(jobs)
    ending = Write(claim.lease, 1, [END], folded("one", ""))
    assert (await written(log, ending)).status == "ok"
    assert (await written(log, ending)).status == "ok"
    assert (await log.read(session_id)).turn == 2
    assert [claim.lease.turn for claim in await jobs.claim("w1", "demo", 64)] == [2]


async def test_a_finished_session_reads_as_its_messages(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    claim = await claimed(jobs)
    await written(log, Write(claim.lease, 1, [*deltas("a", "b"), END], folded("one", "ab")))
    view = await log.read(session_id)
    assert (view.state, view.top, view.events) == ("idle", EventId(1, 1, 3), [])
    assert view.snapshot(session_id).messages == [Entry(1, 0, "user", "one"), Entry(1, 0, "assistant", "ab", "stop")]


@pytest.mark.parametrize(
    "cursor",
    [EventId(1, 1, 3), EventId(1, 2, 1), EventId(2, 0, 0), EventId(0, 0, 0), EventId(10**11, 999, 10**11), None],
    ids=str,
)
async def test_an_unknown_cursor_is_answered_with_the_fold(log: SessionLog, jobs: Jobs, cursor: EventId | None) -> None:
    session_id, _ = await log.start("ann", "one")
    await written(log, Write((await claimed(jobs)).lease, 1, deltas("a", "b")))
    view = await log.read(session_id, cursor)
    assert view.fold is not None
    assert view.fold.messages()[-1].text == "ab"


async def test_a_reader_too_far_behind_is_answered_with_the_snapshot(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await written(log, Write((await claimed(jobs)).lease, 1, deltas(*"x" * 51)))
    near, far = await log.read(session_id, EventId(1, 1, 1)), await log.read(session_id, EventId(1, 0, 0))
    assert (len(near.events), near.fold) == (50, None)
    assert far.fold is not None


async def test_finished_deltas_are_trimmed_and_the_newest_cursor_stays_valid(
    log: SessionLog, jobs: Jobs, store: Store
) -> None:
    session_id, _ = await log.start("ann", "one")
    claim = await claimed(jobs)
    await written(log, Write(claim.lease, 1, [*deltas(*"abc"), END], folded("one", "abc")))
    assert len((await log.read(session_id, EventId(1, 1, 1))).events) == 3
    await eventually(jobs.trim, description="the replay window is over", seconds=3)
    (length,) = await store.execute(command("XLEN", KEYS.session(session_id).log))
    assert length == 1
    behind, caught_up = await log.read(session_id, EventId(1, 1, 1)), await log.read(session_id, EventId(1, 1, 4))
    assert behind.fold is not None
    assert [entry.text for entry in behind.fold.messages()] == ["one", "abc"]
    assert (caught_up.fold, caught_up.events) == (None, [])


async def test_a_deleted_session_fences_its_worker(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    claim = await claimed(jobs)
    await log.delete(session_id, "ann")
    assert await written(log, Write(claim.lease, 1, deltas("a"))) == Written("fenced", 0)
    assert await jobs.renew([claim.lease]) == [Renewal.LOST]
    assert await jobs.claim("w1", "demo", 64) == []
    with pytest.raises(SessionNotFoundError):
        await log.read(session_id)


@with_sentinel
async def test_many_turns_are_written_in_one_round_trip(log: SessionLog, jobs: Jobs) -> None:
    sessions = {(await log.start("ann", f"question {number}")).session_id for number in range(6)}
    claims = await jobs.claim("w1", "demo", 64)
    assert {claim.lease.session_id for claim in claims} == sessions
    stale = Lease(claims[0].lease.session_id, 1, 9, "w1")
    leases = [stale, *(claim.lease for claim in claims[1:])]
    outcomes = await log.write([Write(lease, 1, deltas("a")) for lease in leases])
    assert outcomes == [Written("fenced", 0), *[Written("ok", 1)] * 5]


@with_sentinel
async def test_scripts_are_loaded_again_after_a_flush(log: SessionLog, store: Store) -> None:
    await log.start("ann", "hello")
    await execute_on_all(store, "SCRIPT FLUSH")
    session_id, _ = await log.start("ann", "hello again")
    assert (await log.read(session_id)).turn == 1
