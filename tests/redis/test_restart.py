"""Redis dies and restarts: with its append-only file nothing is lost, without it the streams end."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.client import Visitor
from tests.support.processes import RedisChild, Stack
from tests.support.readers import Reader, assert_ids_name_one_content, wait_for_text
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import wait_until

QUESTION = "tokens=300 rate=60 seed=25"
SETTINGS = {"MIDSENTENCE_REDIS_TIMEOUT_SECONDS": "1", "MIDSENTENCE_SECRET": "a secret of the tests alone"}


@pytest.fixture
def stack_settings() -> dict[str, str]:
    return SETTINGS


@pytest.fixture
def volatile(tmp_path: Path, upstream: Upstream) -> Generator[tuple[Stack, RedisChild]]:
    """A stack on a Valkey that keeps nothing on disk."""
    redis = RedisChild(tmp_path / "volatile", None, "--appendonly", "no")
    stack = Stack(tmp_path, upstream, settings=SETTINGS, redis_url=redis.url)
    try:
        redis.spawn()
        stack.start()
        yield stack, redis
    finally:
        stack.stop()
        redis.stop()


def test_readers_stay_connected_through_a_restart_of_redis(stack: Stack, visitor: Visitor) -> None:
    """With the append-only file; the scripts are loaded again."""
    session_id = visitor.start(QUESTION)
    readers = [Reader(visitor, session_id) for _ in range(3)]
    before = stack.pids
    for after in (40, 120):
        wait_for_text(readers, after)
        stack.redis.kill()
        stack.redis.start()
    transcripts = [reader.wait_for_end() for reader in readers]
    assert {transcript.answer() for transcript in transcripts} == {"".join(text_for(QUESTION))}
    assert [reader.connections for reader in readers] == [1, 1, 1], "a reader had to reconnect"
    assert stack.pids == before
    assert_ids_name_one_content(transcripts)


def test_an_emptied_redis_ends_streams_and_serves_new_sessions(
    volatile: tuple[Stack, RedisChild],
) -> None:
    """Without the file: no stream may wait for text that no longer exists."""
    stack, redis = volatile
    with Visitor(stack.base_url) as visitor:
        session_id = visitor.start(QUESTION)
        reader = Reader(visitor, session_id)
        wait_for_text([reader], 40)
        before = stack.pids
        redis.kill()
        redis.start()
        reader.wait_for_end()
        assert reader.not_found, "a reader of a lost session must get 404"
        assert visitor.http.get(f"/sessions/{session_id}").status_code == 404
        wait_until(lambda: visitor.http.get("/readyz").status_code == 200, description="the server is ready again")
        again = visitor.start("tokens=20 rate=200 seed=26")
        assert visitor.read(again).answer() == "".join(text_for("tokens=20 rate=200 seed=26"))
    assert stack.pids == before
