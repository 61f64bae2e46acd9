"""A session is read by whoever has its capability, as long as its owner wishes."""

import pytest

from midsentence import keys
from midsentence.errors import SessionNotFoundError
from midsentence.log import Access, SessionLog
from midsentence.store.store import Store
from tests.log.test_announcing import heard

pytestmark = pytest.mark.anyio


async def test_a_capability_is_given_once_and_forgotten_when_it_is_taken_back(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "hello")
    assert (await log.read(session_id)).access == Access("ann", "chat", "")
    first = await log.share(session_id, "ann")
    assert (await log.share(session_id, "ann"), (await log.read(session_id)).access.share) == (first, first)
    await log.unshare(session_id, "ann")
    await log.unshare(session_id, "ann")
    assert (await log.read(session_id)).access.share == ""
    assert await log.share(session_id, "ann") not in {first, ""}


async def test_readers_look_again_when_it_is_taken_back(log: SessionLog, store: Store) -> None:
    """Whoever may not read along any more is not found out otherwise, as long as nothing is said."""
    session_id, _ = await log.start("ann", "hello")
    await log.share(session_id, "ann")
    async with heard(store, session_id) as message:
        await log.unshare(session_id, "ann")
        assert await message() == b"1.0-0 1.0-0 s\n"


async def test_nobody_shares_what_is_not_theirs_or_not_there(log: SessionLog, store: Store) -> None:
    """Nor does a session that was deleted come back by it, for ever and without an owner."""
    deleted, theirs = [(await log.start("ann", text)).session_id for text in ("a", "b")]
    await log.delete(deleted, "ann")
    for session_id, who in ((deleted, "ann"), (theirs, "bob"), ("../secret", "ann")):
        with pytest.raises(SessionNotFoundError):
            await log.share(session_id, who)
        with pytest.raises(SessionNotFoundError):
            await log.unshare(session_id, who)
    assert (await log.read(theirs)).access.share == ""
    (held,) = await store.execute(("HGET", keys.session(deleted).meta, "share"))
    assert held is None
