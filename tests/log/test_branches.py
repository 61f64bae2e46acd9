"""A message follows its named parent, also after it waited in the queue."""

import msgspec
import pytest

from midsentence.errors import IdempotencyMismatchError, SessionBusyError, TurnNotFoundError
from midsentence.events import Delta, End, Entry
from midsentence.fold import stored_turn
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog, Submitted, Write

pytestmark = pytest.mark.anyio

END = (End.type, End("stop").encoded())


async def claimed(jobs: Jobs) -> Claim:
    (claim,) = await jobs.claim("w1", "demo", 64)
    return claim


async def answered(log: SessionLog, jobs: Jobs) -> int:
    """Take the queued turn to its end, as a worker does; returns its number."""
    claim = await claimed(jobs)
    session_id, turn, *_ = claim.lease
    fold = (await log.read(session_id)).fold
    assert fold is not None
    events = [(Delta.type, Delta(f"answer {turn}").encoded()), END]
    fold.apply_all(turn, events)
    await log.write([Write(claim.lease, claim.seq + 1, events, stored_turn(fold.turn(turn)))])
    return turn


async def entries(log: SessionLog, session_id: str) -> list[Entry]:
    return (await log.read(session_id)).snapshot(session_id).messages


async def test_a_message_follows_its_named_parent(log: SessionLog, jobs: Jobs) -> None:
    """In the log, while the turn runs, and in the stored turn."""
    session_id, _ = await log.start("ann", "one")
    await answered(log, jobs)
    await log.submit(session_id, "ann", "two")
    await answered(log, jobs)
    top = (await log.read(session_id)).top
    assert (await log.submit(session_id, "ann", 'otherwise "parent":9', parent=0)).turn == 3
    view = await log.read(session_id, top)
    assert [msgspec.json.decode(event.data) for event in view.events] == [
        {"role": "user", "text": 'otherwise "parent":9', "turn": 3, "parent": 0}
    ]
    assert (await entries(log, session_id))[-1] == Entry(3, 0, "user", 'otherwise "parent":9')
    await answered(log, jobs)
    assert [(entry.turn, entry.parent) for entry in await entries(log, session_id)] == [
        (1, 0), (1, 0), (2, 1), (2, 1), (3, 0), (3, 0),
    ]  # fmt: skip


async def test_a_message_without_parent_follows_the_turn_before(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", "anew", parent=0)
    await log.submit(session_id, "ann", "on")
    assert [await answered(log, jobs) for _ in range(3)] == [1, 2, 3]
    assert [entry.parent for entry in await entries(log, session_id)] == [0, 0, 0, 0, 2, 2]


async def test_a_queued_message_keeps_its_parent(log: SessionLog, jobs: Jobs) -> None:
    """Also when it is stopped in the queue, and when its parent is queued too."""
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", 'two ","parent":7', parent=0)
    await log.submit(session_id, "ann", "three", parent=2)
    await log.stop(session_id, "ann", 2)
    assert [await answered(log, jobs) for _ in range(2)] == [1, 3]
    assert (await entries(log, session_id))[2:] == [
        Entry(2, 0, "user", 'two ","parent":7'),
        Entry(2, 0, "assistant", "", "stopped"),
        Entry(3, 2, "user", "three"),
        Entry(3, 2, "assistant", "answer 3", "stop"),
    ]


async def test_an_interrupting_message_keeps_its_parent(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "one")
    await log.submit(session_id, "ann", "two", parent=1)
    assert (await log.submit(session_id, "ann", "three", parent=0, on_busy="interrupt")).turn == 3
    assert [await answered(log, jobs) for _ in range(2)] == [1, 3]
    assert [(entry.turn, entry.parent, entry.end) for entry in (await entries(log, session_id))[1::2]] == [
        (1, 0, "stop"),
        (2, 1, "stopped"),
        (3, 0, "stop"),
    ]


@pytest.mark.parametrize("parent", [2, 3, 10**12, 10**30])
async def test_an_unknown_parent_is_refused(log: SessionLog, jobs: Jobs, parent: int) -> None:
    """Also where the message would be rejected or would interrupt; it uses up no number and no key."""
    session_id, _ = await log.start("ann", "one")
    claim = await claimed(jobs)
    with pytest.raises(TurnNotFoundError):
        await log.submit(session_id, "ann", "two", key="k", parent=parent)
    with pytest.raises(TurnNotFoundError):
        await log.submit(session_id, "ann", "two", on_busy="interrupt", parent=parent)
    with pytest.raises(SessionBusyError):
        await log.submit(session_id, "ann", "two", on_busy="reject", parent=1)
    await jobs.release(claim.lease, counts=False)
    assert not (await claimed(jobs)).stop
    assert await log.submit(session_id, "ann", "two", key="k") == Submitted(session_id, 2)


async def test_an_idempotency_key_covers_the_parent(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "one")
    once = await log.submit(session_id, "ann", "two", key="k", parent=0)
    assert await log.submit(session_id, "ann", "two", key="k", parent=0) == once
    for other in (None, 1, 2):
        with pytest.raises(IdempotencyMismatchError):
            await log.submit(session_id, "ann", "two", key="k", parent=other)
