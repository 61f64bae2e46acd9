"""A session is readable with its capability until its owner revokes it."""

import pytest

from midsentence.errors import SessionNotFoundError
from midsentence.log import Access, SessionLog
from midsentence.store.scripts import command
from midsentence.store.store import Store
from tests.log.test_announcing import subscribed
from tests.support.keys import KEYS

pytestmark = pytest.mark.anyio


async def test_a_capability_is_the_same_until_it_is_revoked(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "hello")
    assert (await log.read(session_id)).access == Access("ann", "chat", "")
    first = await log.share(session_id, "ann")
    assert (await log.share(session_id, "ann"), (await log.read(session_id)).access.share) == (first, first)
    await log.unshare(session_id, "ann")
    await log.unshare(session_id, "ann")
    assert (await log.read(session_id)).access.share == ""
    assert await log.share(session_id, "ann") not in {first, ""}


async def test_revoking_a_capability_notifies_readers(log: SessionLog, store: Store) -> None:
    """Otherwise a stream that used it would stay open until the next append."""
    session_id, _ = await log.start("ann", "hello")
    await log.share(session_id, "ann")
    async with subscribed(store, session_id) as message:
        await log.unshare(session_id, "ann")
        assert await message() == b"1.0-0 1.0-0 s\n"


async def test_only_the_owner_shares_and_only_an_existing_session(log: SessionLog, store: Store) -> None:
    """Sharing must not recreate a deleted session, without an owner and without an expiry."""
    deleted, theirs = [(await log.start("ann", text)).session_id for text in ("a", "b")]
    await log.delete(deleted, "ann")
    for session_id, owner in ((deleted, "ann"), (theirs, "bob"), ("../secret", "ann")):
        with pytest.raises(SessionNotFoundError):
            await log.share(session_id, owner)
        with pytest.raises(SessionNotFoundError):
            await log.unshare(session_id, owner)
    assert (await log.read(theirs)).access.share == ""
    (held,) = await store.execute(command("HGET", KEYS.session(deleted).meta, "share"))
    assert held is None
