"""A rename changes the title of a session that exists, and creates none."""

import asyncio

import pytest

from midsentence.errors import SessionNotFoundError
from midsentence.log import SessionLog, automatic_title
from midsentence.owners import Owners
from midsentence.store.scripts import command
from midsentence.store.store import Store
from tests.log.test_announcing import subscribed
from tests.support.keys import KEYS
from tests.support.redis_deployments import execute_on_all
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_a_new_title_is_listed_and_outlasts_later_messages(log: SessionLog, owners: Owners) -> None:
    session_id, _ = await log.start("ann", "hello")
    await owners.note("ann", session_id)
    await log.rename(session_id, "ann", "标题 \x00\n")
    await log.submit(session_id, "ann", "second")
    assert (await log.read(session_id)).title == "标题 \x00\n"
    assert [listed.title for listed in await owners.sessions("ann")] == ["标题 \x00\n"]


async def test_a_rename_notifies_readers(log: SessionLog, store: Store) -> None:
    session_id, _ = await log.start("ann", "hello")
    async with subscribed(store, session_id) as message:
        await log.rename(session_id, "ann", "another")
        async with asyncio.timeout(5):
            assert await message() == b"1.0-0 1.0-0 s\n"


async def test_a_rename_does_not_postpone_the_expiry(log: SessionLog, store: Store) -> None:
    session_id, _ = await log.start("ann", "hello")
    meta = KEYS.session(session_id).meta
    await store.execute(command("PEXPIRE", meta, 90_000))
    await log.rename(session_id, "ann", "another")
    (left,) = await store.execute(command("PTTL", meta))
    assert 0 < left <= 90_000


async def test_only_the_owner_renames_and_only_an_existing_session(log: SessionLog, store: Store) -> None:
    """A rename must not recreate an expired or deleted session, without an owner and without an expiry."""
    deleted, expired, theirs = [(await log.start("ann", text)).session_id for text in ("a", "b", "c")]
    await log.delete(deleted, "ann")
    held = KEYS.session(expired)
    await store.execute(
        *(command("PEXPIRE", key, 1) for key in (held.meta, held.log, held.turns, held.queue, held.seen))
    )

    async def is_gone() -> bool:
        return not await execute_on_all(store, "KEYS", f"*{expired}*")

    await eventually(is_gone, description="the session expired")
    for session_id, owner in ((deleted, "ann"), (expired, "ann"), (theirs, "bob"), ("../secret", "ann")):
        with pytest.raises(SessionNotFoundError):
            await log.rename(session_id, owner, "mine")
    assert (await log.read(theirs)).title == "c"
    assert await execute_on_all(store, "KEYS", f"*{expired}*") == []
    for session_id in (deleted, expired):
        with pytest.raises(SessionNotFoundError):
            await log.read(session_id)


async def test_a_models_title_replaces_the_automatic_one_alone(log: SessionLog, store: Store) -> None:
    session_id, _ = await log.start("ann", " one\n question ")
    async with subscribed(store, session_id) as message:
        assert await log.entitle(session_id, automatic_title(" one\n question "), "On questions")
        async with asyncio.timeout(5):
            assert await message() == b"1.0-0 1.0-0 s\n"
    assert (await log.read(session_id)).title == "On questions"
    assert not await log.entitle(session_id, "one question", "Again")
    await log.rename(session_id, "ann", "mine")
    assert not await log.entitle(session_id, "On questions", "Again")
    assert (await log.read(session_id)).title == "mine"


async def test_a_models_title_never_replaces_the_owners_words(log: SessionLog) -> None:
    """Not even where they are those of the automatic title."""
    session_id, _ = await log.start("ann", "one question")
    await log.rename(session_id, "ann", "one question")
    assert not await log.entitle(session_id, "one question", "On questions")
    assert (await log.read(session_id)).title == "one question"


async def test_a_models_title_creates_no_session(log: SessionLog, store: Store) -> None:
    session_id, _ = await log.start("ann", "one question", key="k")
    await log.rename(session_id, "ann", "mine")
    await log.delete(session_id, "ann")
    assert not await log.entitle(session_id, "one question", "On questions")
    with pytest.raises(SessionNotFoundError):
        await log.read(session_id)
    # The name that the owner gave to the deleted session does not count for the one after it.
    await log.start("ann", "one question", key="k")
    assert await log.entitle(session_id, "one question", "On questions")
