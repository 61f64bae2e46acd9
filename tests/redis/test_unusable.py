"""A Redis that lacks something: it is said, nothing is lost or run twice, and a repair needs no restart."""

import json
from collections.abc import Generator
from functools import partial

import pytest

from tests.support.client import Visitor
from tests.support.processes import Child, RedisChild, Stack
from tests.support.redis_deployments import execute
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import wait_until

QUESTION = "tokens=10 rate=200 seed=40"
EVERYTHING = ("~*", "&*", "+@all")
LOSSES = {
    # As Redis 7 makes users by default.
    "no channels": ("~*", "+@all"),
    "a command": (*EVERYTHING, "-xadd"),
    "its password": (*EVERYTHING, "resetpass", ">another"),
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Stack, RedisChild]]:
    directory = tmp_path_factory.mktemp("unusable")
    redis = RedisChild(directory / "redis")
    url = redis.url.replace("redis://", "redis://app:pw@")
    with Upstream() as upstream:
        stack = Stack(directory, upstream, settings={"MIDSENTENCE_LEASE_SECONDS": "1"}, redis_url=url)
        try:
            redis.start()
            yield stack, redis
        finally:
            stack.stop()
            redis.stop()


def allow(redis: RedisChild, *rules: str) -> None:
    execute(redis, "ACL", "SETUSER", "app", "reset", "on", ">pw", *rules)
    # Those that are logged in stay so with another password.
    execute(redis, "CLIENT", "KILL", "USER", "app", "SKIPME", "yes")


def reports(child: Child, event: str) -> list[str]:
    lines = [json.loads(line) for line in child.recent.splitlines() if line.startswith("{")]
    return [line.get("error", "") for line in lines if line["event"] == event]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("when", ["at the start", "later"])
def test_what_redis_lacks_is_said_and_its_repair_needs_no_restart(
    deployment: tuple[Stack, RedisChild], loss: str, when: str
) -> None:
    """2.1: 503 `store_unusable` with the sentence, from /readyz too. A refused message is never answered."""
    stack, redis = deployment
    stack.stop()
    allow(redis, *(EVERYTHING if when == "later" else LOSSES[loss]))
    for child in (*stack.servers, *stack.workers):
        child.spawn()
    stack.servers[0].wait("/healthz")
    with Visitor(stack.base_url) as visitor:
        if when == "later":
            wait_until(lambda: visitor.http.get("/readyz").status_code == 200, description="the server is ready")
            allow(redis, *LOSSES[loss])
        wait_until(lambda: "store_unusable" in visitor.http.get("/readyz").text, description="/readyz says it")
        sentence = visitor.http.get("/readyz").json()["error"]["message"]
        asked = len(stack.upstream.requests)
        for _ in range(5):
            refused = visitor.http.post("/sessions", json={"text": QUESTION})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unusable")
            assert refused.json()["error"]["message"] == sentence
            assert int(refused.headers["retry-after"]) >= 1
        for child in (*stack.servers, *stack.workers):
            wait_until(partial(reports, child, "store_unusable"), description="the log says it")
        before = stack.pids
        allow(redis, *EVERYTHING)
        wait_until(lambda: visitor.http.get("/readyz").status_code == 200, description="the server is ready again")
        session_id = visitor.start(QUESTION)
        assert visitor.read(session_id).answer() == "".join(text_for(QUESTION))
        assert len(stack.upstream.requests) == asked + 1, "a refused message was answered"
        assert stack.pids == before
    for child in (*stack.servers, *stack.workers):
        found = reports(child, "store_unusable")
        assert len(found) == len(set(found)) <= 2, "each sentence is logged once"
        assert len(reports(child, "subscription_lost")) <= 1
