"""A stop is durable, reaches the worker that runs the turn, and returns the end in the log."""

import msgspec
import pytest

from midsentence.errors import SessionBusyError, SessionNotFoundError, TurnNotFoundError
from midsentence.events import Delta, End, Entry, Queued
from midsentence.fold import stored_turn
from midsentence.ids import EventId
from midsentence.jobs import Claim, Jobs, Renewal
from midsentence.log import SessionLog, Stopped, Write, Written

pytestmark = pytest.mark.anyio

END = (End.type, End("stopped").encoded())


async def claimed(jobs: Jobs) -> Claim:
    (claim,) = await jobs.claim("w1", "demo", 64)
    return claim


async def ended(log: SessionLog, claim: Claim, question: str, reason: str = "stopped") -> None:
    entries = [Entry(claim.lease.turn, claim.lease.turn - 1, "user", question)]
    entries.append(Entry(claim.lease.turn, claim.lease.turn - 1, "assistant", "", reason))  # pyright: ignore[reportArgumentType]
    await log.write([Write(claim.lease, claim.seq + 1, [END], stored_turn(entries))])


async def test_a_stop_is_reported_to_every_write_renewal_and_claim(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    claim = await claimed(jobs)
    assert await log.stop(session_id, "ann") == Stopped(1, None)
    for seq in (1, 2):
        (written,) = await log.write([Write(claim.lease, seq, [(Delta.type, Delta("a").encoded())])])
        assert written == Written("ok", seq, stop=True)
    assert await jobs.renew([claim.lease]) == [Renewal.STOP]
    await jobs.release(claim.lease, counts=True)
    assert (await claimed(jobs)).stop


async def test_a_repeated_stop_returns_the_same_end(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    claim = await claimed(jobs)
    await log.stop(session_id, "ann", 1)
    await ended(log, claim, "hello")
    top = (await log.read(session_id)).top
    assert [await log.stop(session_id, "ann", turn) for turn in (1, None, 1)] == [Stopped(1, "stopped")] * 3
    assert (await log.read(session_id)).top == top


async def test_a_stop_after_the_end_returns_that_end(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    await ended(log, await claimed(jobs), "hello", "length")
    assert await log.stop(session_id, "ann") == Stopped(1, "length")


async def test_a_stop_of_one_turn_does_not_stop_the_next(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", "two")
    claim = await claimed(jobs)
    await log.stop(session_id, "ann", 1)
    await ended(log, claim, "one")
    following = await claimed(jobs)
    assert (following.lease.turn, following.stop) == (2, False)


async def test_a_queued_turn_is_stopped_at_once_and_logged_in_order(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", 'two "quoted" \n', key="k2")
    await log.submit(session_id, "ann", "three")
    claim = await claimed(jobs)
    assert await log.stop(session_id, "ann", 2) == Stopped(2, "stopped")
    assert await log.stop(session_id, "ann", 2) == Stopped(2, "stopped")
    queued = (await log.read(session_id)).queued
    assert queued == [Queued("k2", 'two "quoted" \n', stopped=True), Queued(None, "three")]
    await ended(log, claim, "one", "stop")
    view = await log.read(session_id, EventId(1, 0, 0))
    assert [str(event.id) for event in view.events] == ["1.1-1", "2.0-0", "2.0-1", "3.0-0"]
    assert msgspec.json.decode(view.events[2].data) == {"reason": "stopped", "usage": None, "error": None}
    snapshot = (await log.read(session_id)).snapshot(session_id)
    assert snapshot.messages[2:4] == [
        Entry(2, 1, "user", 'two "quoted" \n'),
        Entry(2, 1, "assistant", "", "stopped"),
    ]
    assert (await claimed(jobs)).lease.turn == 3
    assert await log.stop(session_id, "ann", 2) == Stopped(2, "stopped")


async def test_a_session_whose_queued_turns_are_stopped_becomes_idle(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", "two")
    claim = await claimed(jobs)
    await log.stop(session_id, "ann", 2)
    await ended(log, claim, "one")
    view = await log.read(session_id)
    assert (view.state, view.turn, str(view.top)) == ("idle", 2, "2.0-1")
    assert await jobs.claim("w1", "demo", 64) == []
    assert (await log.submit(session_id, "ann", "three")).turn == 3


async def test_only_the_owner_stops_and_only_existing_turns(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "hello")
    with pytest.raises(SessionNotFoundError):
        await log.stop(session_id, "bob")
    with pytest.raises(TurnNotFoundError):
        await log.stop(session_id, "ann", 2)


async def test_on_busy_reject_refuses_a_message_while_a_turn_runs(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    with pytest.raises(SessionBusyError):
        await log.submit(session_id, "ann", "two", on_busy="reject")
    await ended(log, await claimed(jobs), "one")
    assert (await log.submit(session_id, "ann", "two", on_busy="reject")).turn == 2


async def test_an_interrupting_message_stops_all_earlier_turns(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", "two")
    claim = await claimed(jobs)
    assert (await log.submit(session_id, "ann", "three", on_busy="interrupt")).turn == 3
    assert await jobs.renew([claim.lease]) == [Renewal.STOP]
    await ended(log, claim, "one")
    following = await claimed(jobs)
    assert (following.lease.turn, following.stop) == (3, False)


async def test_a_mark_is_stored_only_with_the_events_that_it_covers(log: SessionLog, jobs: Jobs) -> None:
    await log.start("ann", "one")
    claim = await claimed(jobs)
    await log.write([Write(claim.lease, 1, [], mark="resp_1:0")])
    await log.write([Write(claim.lease, 1, [(Delta.type, Delta("a").encoded())], mark="resp_1:4")])
    await log.write([Write(claim.lease, 3, [(Delta.type, Delta("c").encoded())], mark="resp_1:9")])
    await jobs.release(claim.lease, counts=True)
    assert (await claimed(jobs)).mark == "resp_1:4"
