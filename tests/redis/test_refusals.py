"""A Redis that answers but refuses to write: messages are refused with a reason, and readers stay."""

import shutil
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest
from redis import Redis

from tests.support.client import Visitor
from tests.support.processes import RedisChild, Stack, free_port
from tests.support.readers import Reader, wait_for_text
from tests.support.redis_deployments import execute
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import wait_until

LOADED_COMMANDS = 15_000
QUESTION = "tokens=150 rate=60 seed=30"


class Trouble(NamedTuple):
    begin: Callable[[RedisChild], object]
    end: Callable[[RedisChild], object]


def fill(redis: RedisChild) -> None:
    execute(redis, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1mb")


def empty(redis: RedisChild) -> None:
    execute(redis, "CONFIG", "SET", "maxmemory", "0")


def demote(redis: RedisChild) -> None:
    execute(redis, "REPLICAOF", "127.0.0.1", free_port())


def promote(redis: RedisChild) -> None:
    execute(redis, "REPLICAOF", "NO", "ONE")


def spoil_disk(redis: RedisChild) -> None:
    """Make BGSAVE fail as on a full disk: a directory stands where the file should go."""
    (redis.directory / "dump.rdb" / "full").mkdir(parents=True)
    execute(redis, "CONFIG", "SET", "save", "3600 1", "stop-writes-on-bgsave-error", "yes")
    execute(redis, "BGSAVE")
    wait_until(
        lambda: execute(redis, "INFO", "persistence")["rdb_last_bgsave_status"] == "err",
        description="the snapshot failed",
    )


def clear_disk(redis: RedisChild) -> None:
    shutil.rmtree(redis.directory / "dump.rdb")
    execute(redis, "BGSAVE")
    wait_until(
        lambda: execute(redis, "INFO", "persistence")["rdb_last_bgsave_status"] == "ok",
        description="the snapshot was written",
    )
    execute(redis, "CONFIG", "SET", "save", "")


def load(redis: RedisChild) -> None:
    """Restart with a file whose commands load slowly, until `loaded`.

    Redis serves its clients after every 1,024 commands that it loads.
    """
    with Redis(port=redis.port) as client:
        pipeline: Any = client.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
        for _ in range(LOADED_COMMANDS):
            pipeline.set("ms:weight", "", px=600_000)
        pipeline.execute()
    redis.kill()
    redis.spawn()
    wait_until(lambda: redis.replies(b"LOADING"), description="Redis is loading")


def loaded(redis: RedisChild) -> None:
    execute(redis, "CONFIG", "SET", "key-load-delay", "0")
    redis.wait()


TROUBLES = {
    "OOM": Trouble(fill, empty),
    "READONLY": Trouble(demote, promote),
    "MISCONF": Trouble(spoil_disk, clear_disk),
    "LOADING": Trouble(load, loaded),
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Stack, RedisChild]]:
    directory = tmp_path_factory.mktemp("refusing")
    redis = RedisChild(directory / "redis", None, "--key-load-delay", "300")
    settings = {
        "MIDSENTENCE_REDIS_TIMEOUT_SECONDS": "1",
        "MIDSENTENCE_LEASE_SECONDS": "20",
        "MIDSENTENCE_SECRET": "a secret of the tests alone",
    }
    with Upstream() as upstream:
        stack = Stack(directory, upstream, settings=settings, redis_url=redis.url)
        try:
            redis.spawn()
            stack.start()
            yield stack, redis
        finally:
            stack.stop()
            redis.stop()


@pytest.mark.parametrize("word", TROUBLES)
def test_a_post_is_refused_whole_and_readers_stay_connected(deployment: tuple[Stack, RedisChild], word: str) -> None:
    """2.1: 503 `store_unavailable`; the running turn waits and ends well."""
    stack, redis = deployment
    trouble = TROUBLES[word]
    with Visitor(stack.base_url) as visitor:
        session_id = visitor.start(QUESTION)
        reader = Reader(visitor, session_id)
        wait_for_text([reader], 40)
        before = stack.pids
        held = set(execute(redis, "KEYS", "*"))
        trouble.begin(redis)
        for _ in range(3):
            refused = visitor.http.post("/sessions", json={"text": "Will you have me?"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["error"]["message"].count("\n") == 0
            time.sleep(0.2)
        trouble.end(redis)
        # The running answer may have ended meanwhile.
        new = {key for key in set(execute(redis, "KEYS", "*")) - held if session_id.encode() not in key}
        assert new <= {b"ms:weight"}, "a refused message must leave no key"
        transcript = reader.wait_for_end()
        wait_until(lambda: visitor.http.get("/readyz").status_code == 200, description="the server is ready")
        again = visitor.start("tokens=20 rate=200 seed=31")
        assert visitor.read(again).answer() == "".join(text_for("tokens=20 rate=200 seed=31"))
    assert transcript.answer() == "".join(text_for(QUESTION))
    assert (reader.connections, transcript.snapshots) == (1, 1)
    assert stack.pids == before
