"""The head of a session shows every change that a read of it shows."""

import pytest

from midsentence.jobs import Jobs
from midsentence.log import Head, SessionLog

pytestmark = pytest.mark.anyio


async def test_head_agrees_with_a_read_and_changes_with_it(log: SessionLog, jobs: Jobs) -> None:
    seen: list[Head] = []

    async def agrees() -> None:
        (head,) = await log.heads([session_id])
        view = await log.read(session_id)
        assert isinstance(head, Head)
        assert (head.access, head.state, head.turn) == (view.access, view.state, view.turn)
        assert (head.top.decode(), head.title, head.model) == (str(view.top), view.title, view.model)
        assert head.newest == view.turn + len(view.queued)
        assert head not in seen, "a change that no head shows is found by no feed"
        seen.append(head)

    session_id, _ = await log.start("ann", "标题")
    await agrees()
    await log.submit(session_id, "ann", "second")
    await agrees()
    await jobs.claim("worker", "a model", 1)
    await agrees()
    await log.rename(session_id, "ann", "another")
    await agrees()
    await log.share(session_id, "ann")
    await agrees()
    await log.delete(session_id, "ann")
    assert await log.heads([session_id]) == [None]


async def test_heads_are_in_the_order_of_the_sessions(log: SessionLog) -> None:
    """In a cluster several servers have them."""
    sessions = [(await log.start("ann", str(number))).session_id for number in range(8)]
    sessions.insert(3, "00" + "A" * 22)
    heads = await log.heads(sessions)
    titles = [head.title if isinstance(head, Head) else head for head in heads]
    assert titles == ["0", "1", "2", None, "3", "4", "5", "6", "7"]
