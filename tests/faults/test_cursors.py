"""Cursors that the log no longer holds, and an `end` whose announcement is lost."""

import asyncio
import re
from collections.abc import Generator
from pathlib import Path

import pytest

from midsentence import append
from midsentence.jobs import Jobs
from midsentence.log import SessionLog, Write, Written
from midsentence.settings import Settings
from midsentence.store.store import Store
from tests.conftest import running
from tests.support.client import Transcript, Visitor
from tests.support.processes import Stack
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import wait_until

QUESTION = "tokens=60 rate=40 seed=9"


def stack_with(tmp_path: Path, upstream: Upstream, workers: int = 1, **settings: str) -> Generator[Stack]:
    return running(Stack(tmp_path, upstream, workers=workers, settings=settings))


@pytest.fixture
def trimming(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    """Deltas of finished turns are trimmed at once."""
    yield from stack_with(tmp_path, upstream, MIDSENTENCE_REPLAY_SECONDS="0.05")


@pytest.fixture
def expiring(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    """Sessions expire after three seconds."""
    yield from stack_with(tmp_path, upstream, MIDSENTENCE_SESSION_TTL="3")


@pytest.fixture
def without_worker(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    """No worker runs: the test claims the turn itself."""
    yield from stack_with(tmp_path, upstream, workers=0)


def test_a_trimmed_cursor_is_answered_with_one_snapshot(trimming: Stack) -> None:
    with Visitor(trimming.base_url) as visitor:
        session_id = visitor.start(QUESTION)
        behind, caught_up = Transcript(session_id), Transcript(session_id)
        visitor.read(session_id, behind, limit=3)
        visitor.read(session_id, caught_up)

        def is_trimmed() -> bool:
            return visitor.read(session_id, Transcript(session_id, cursor=behind.cursor)).snapshots == 1

        wait_until(is_trimmed, description="the turn's deltas are gone")
        visitor.read(session_id, behind)
        assert behind.snapshots == 2
        assert behind.answer() == "".join(text_for(QUESTION))
        with visitor.events(session_id, caught_up.cursor) as events:
            assert list(events) == [], "the cursor of a caught-up reader must stay valid"


def test_a_session_id_reused_after_expiry_refuses_the_old_cursor(expiring: Stack) -> None:
    """1.1: no event id of the expired session is given again."""
    key = {"Idempotency-Key": "the same"}
    with Visitor(expiring.base_url) as visitor:
        visitor.http.get("/")
        session_id = visitor.start(QUESTION, **key)
        old = visitor.read(session_id)
        wait_until(lambda: visitor.http.get(f"/sessions/{session_id}").status_code == 404, description="it expired")
        assert visitor.start(QUESTION, **key) == session_id
        new = visitor.read(session_id, Transcript(session_id, cursor=old.cursor))
    assert new.snapshots == 1
    assert not {event.id for event in old.events if event.id} & {event.id for event in new.events if event.id}


def test_an_end_without_an_announcement_is_found_by_polling(
    without_worker: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The `end` is written without its SPUBLISH; the server's poll of the log still closes the stream."""
    silent = append.Script("finish", behind=("common", "ids", "epochs", "announcements", "session", "write"))
    silent.body = re.sub(r"(redis\.)?p?call\('SPUBLISH', LIVE[^\n]*", "", silent.body)
    assert silent.body.count("SPUBLISH', LIVE") == 0
    with Visitor(without_worker.base_url) as visitor:
        session_id = visitor.start("Is anybody there?")
        transcript = Transcript(session_id)
        with visitor.events(session_id) as events:
            transcript.take(next(events))
            monkeypatch.setattr(append, "_FINISH", silent)
            asyncio.run(finish(without_worker.redis.url))
            for event in events:
                transcript.take(event)
    assert transcript.end() == "stop"
    assert transcript.snapshots == 1


async def finish(redis_url: str) -> None:
    store = Store(Settings.model_validate({"redis_url": redis_url}))
    try:
        (claim,) = await Jobs(store).claim("the test", "none", 64)
        folded = b'[{"turn":1,"parent":0,"role":"user","text":"Is anybody there?","end":null}]'
        outcomes = await SessionLog(store).write([Write(claim.lease, 1, [("end", b'{"reason":"stop"}')], folded)])
        assert outcomes == [Written("ok", 1)]
    finally:
        await store.aclose()
