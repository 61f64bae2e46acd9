"""A session of one namespace does not exist in another, even where both derive the same id."""

import pytest

from midsentence.errors import SessionNotFoundError
from midsentence.jobs import Jobs
from midsentence.log import SessionLog
from midsentence.owners import Owners
from midsentence.settings import Settings
from midsentence.store.store import Store

pytestmark = pytest.mark.anyio


async def test_the_same_session_id_names_two_sessions_in_two_namespaces(store: Store, settings: Settings) -> None:
    """The id is derived from owner, key and secret; deployments may have the same MIDSENTENCE_SECRET."""
    other_store = Store(settings.model_copy(update={"namespace": "blue"}))
    log, other = SessionLog(store), SessionLog(other_store)
    session_id, _ = await log.start("ann", "one question", key="a key", secret="a secret")
    with pytest.raises(SessionNotFoundError):
        await other.read(session_id)
    assert await Jobs(other_store).claim("w2", "none", 8) == []
    assert await other.start("ann", "another question", key="a key", secret="a secret") == (session_id, 1)
    (claim,) = await Jobs(other_store).claim("w2", "none", 8)
    assert claim.lease.session_id == session_id
    await Owners(store).note("ann", session_id)
    assert await Owners(other_store).sessions("ann") == []
    await other.delete(session_id, "ann")
    view = await log.read(session_id)
    assert (view.title, view.state) == ("one question", "queued")
    await other_store.aclose()
