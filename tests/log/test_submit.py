"""Submitting a message: its turn, its position in the queue, its idempotency key."""

import pytest

from midsentence.errors import IdempotencyMismatchError, QueueFullError, SessionNotFoundError
from midsentence.events import End, Queued
from midsentence.ids import EventId
from midsentence.jobs import Jobs
from midsentence.log import SessionLog, Submitted, Write
from midsentence.owners import Owners
from midsentence.store.scripts import command
from midsentence.store.store import Store
from tests.support.redis_deployments import execute_on_all

pytestmark = pytest.mark.anyio
AWKWARD = 'a\r\nb \u2028 \x00 😀 "\\ {{}} event: end'


async def test_the_first_message_starts_the_first_turn(log: SessionLog) -> None:
    session_id, turn = await log.start("ann", AWKWARD)
    view = await log.read(session_id)
    assert (turn, view.state, view.turn, view.top, view.access.owner) == (1, "queued", 1, EventId(1, 0, 0), "ann")
    assert view.fold is not None
    assert [(entry.role, entry.text, entry.parent) for entry in view.fold.messages()] == [("user", AWKWARD, 0)]


async def test_a_message_during_a_turn_is_queued_with_its_number(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "first")
    assert await log.submit(session_id, "ann", AWKWARD, key="k") == Submitted(session_id, 2)
    view = await log.read(session_id)
    assert (view.turn, view.queued) == (1, [Queued("k", AWKWARD)])


async def test_a_message_without_a_key_is_queued_without_one(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "first")
    await log.submit(session_id, "ann", "second")
    assert (await log.read(session_id)).queued == [Queued(None, "second")]


async def test_a_full_queue_refuses_a_message(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "first")
    await log.submit(session_id, "ann", "second")
    await log.submit(session_id, "ann", "third")
    with pytest.raises(QueueFullError, match="2 messages wait"):
        await log.submit(session_id, "ann", "fourth")
    assert (await log.read(session_id)).turn == 1


async def test_a_repeated_start_returns_the_first_session(log: SessionLog) -> None:
    once = await log.start("ann", "hello", key="k", secret="s" * 16)
    assert await log.start("ann", "hello", key="k", secret="s" * 16) == once
    assert (await log.read(once.session_id)).queued == []


async def test_a_key_of_another_owner_is_another_key(log: SessionLog) -> None:
    ann = await log.start("ann", "hello", key="k", secret="s" * 16)
    assert (await log.start("bob", "hello", key="k", secret="s" * 16)).session_id != ann.session_id


async def test_a_key_with_another_body_is_refused(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "hello", key="k", secret="s" * 16)
    with pytest.raises(IdempotencyMismatchError):
        await log.start("ann", "bye", key="k", secret="s" * 16)
    await log.submit(session_id, "ann", "more", key="m")
    with pytest.raises(IdempotencyMismatchError):
        await log.submit(session_id, "ann", "else", key="m")


async def test_another_owners_session_looks_like_an_unknown_one(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "hello")
    for unknown in (session_id, "00" + "A" * 22, "zz", "", "../secret", "00" + "A" * 23):
        with pytest.raises(SessionNotFoundError):
            await log.submit(unknown, "bob", "hello")
        with pytest.raises(SessionNotFoundError):
            await log.delete(unknown, "bob")


async def test_a_deleted_session_leaves_only_its_epoch_counters(log: SessionLog, store: Store) -> None:
    session_id, _ = await log.start("ann", "hello")
    await log.submit(session_id, "ann", "second")
    await log.delete(session_id, "ann")
    with pytest.raises(SessionNotFoundError):
        await log.read(session_id)
    left = await execute_on_all(store, "KEYS", f"*{session_id}*")
    (kept,) = await store.execute(command("HKEYS", left[0].decode()))
    assert (len(left), set(kept)) == (1, {b"run", b"base"}), "only the epoch counters of its id may stay"


async def test_a_session_id_reused_after_a_delete_reuses_no_event_id(log: SessionLog) -> None:
    """1.1: a cursor of the deleted session must not be valid in the new one."""
    first, _ = await log.start("ann", "hello", key="k", secret="s" * 16)
    old = (await log.read(first)).top
    await log.delete(first, "ann")
    second, turn = await log.start("ann", "hello", key="k", secret="s" * 16)
    assert (second, turn) == (first, 1)
    view = await log.read(second, old)
    assert view.top != old
    assert view.fold is not None


async def test_every_key_is_created_with_a_time_to_live(log: SessionLog, owners: Owners, store: Store) -> None:
    session_id, _ = await log.start("ann", "hello")
    await log.submit(session_id, "ann", "second", key="k")
    await owners.note("ann", session_id)
    await owners.secret()
    names = [name.decode() for name in await execute_on_all(store, "KEYS", "*")]
    lives = dict(zip(names, await store.execute(*(command("PTTL", name) for name in names)), strict=True))
    assert len(lives) >= 7
    assert {name for name, left in lives.items() if left <= 0} == set()


async def test_only_the_owners_sessions_are_listed_newest_first(log: SessionLog, owners: Owners) -> None:
    ids = [(await log.start("ann", f"question {number}")).session_id for number in range(3)]
    theirs = (await log.start("bob", "mine")).session_id
    for session_id in ids:
        await owners.note("ann", session_id)
    # An owner's list is only a hint: the session itself names its owner.
    await owners.note("ann", theirs)
    await log.delete(ids[1], "ann")
    assert [(listed.session_id, listed.title) for listed in await owners.sessions("ann")] == [
        (ids[2], "question 2"),
        (ids[0], "question 0"),
    ]


async def test_a_listed_session_has_its_state_and_turn(log: SessionLog, jobs: Jobs, owners: Owners) -> None:
    session_id, _ = await log.start("ann", "hello")
    await owners.note("ann", session_id)
    await log.submit(session_id, "ann", "second")
    assert [(listed.state, listed.turn) for listed in await owners.sessions("ann")] == [("queued", 1)]
    (claim,) = await jobs.claim("w1", "demo", 64)
    await log.write([Write(claim.lease, 1, [(End.type, End("stop").encoded())], b"[]")])
    await jobs.claim("w1", "demo", 64)
    assert [(listed.state, listed.turn) for listed in await owners.sessions("ann")] == [("streaming", 2)]


async def test_all_servers_share_one_secret(store: Store) -> None:
    assert await Owners(store).secret() == await Owners(store).secret()
