"""A paused Redis: requests fail fast, nothing piles up, and answers go on afterwards."""

import time
from pathlib import Path

import pytest

from tests.support.client import Visitor
from tests.support.processes import Child, Stack
from tests.support.readers import Reader, assert_ids_name_one_content, wait_for_text
from tests.support.redis_deployments import execute
from tests.support.upstream import text_for
from tests.support.waiting import wait_until

QUESTION = "tokens=500 rate=60 seed=28"
PAUSE_SECONDS = 6.0
# The first command waits one second; all after it fail at once.
TIMEOUT_SECONDS = 1.0
GROWTH_BYTES = 24 << 20
# The connections that two processes may have: those for commands, one probe and one subscription each. Twice, since
# Redis closes the dropped ones only when it reads again.
CONNECTIONS = 2 * 2 * (32 + 1 + 1)


@pytest.fixture
def stack_settings() -> dict[str, str]:
    return {
        "MIDSENTENCE_REDIS_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "MIDSENTENCE_LEASE_SECONDS": "20",
        "MIDSENTENCE_SECRET": "a secret of the tests alone",
    }


def memory(child: Child) -> int:
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def test_a_paused_redis_is_reported_and_loses_nothing(stack: Stack, visitor: Visitor) -> None:
    """Every request gets 503 in time, most of them at once; memory and connections stay bounded."""
    session_id = visitor.start(QUESTION)
    readers = [Reader(visitor, session_id) for _ in range(40)]
    wait_for_text(readers, 40)
    before, weights = stack.pids, [memory(child) for child in (*stack.servers, *stack.workers)]
    stack.redis.pause()
    until = time.monotonic() + PAUSE_SECONDS
    waits: list[float] = []
    while time.monotonic() < until:
        begun = time.monotonic()
        ready, asked = visitor.http.get("/readyz"), visitor.http.post("/sessions", json={"text": "Is anybody there?"})
        waits.append(time.monotonic() - begun)
        assert [ready.status_code, asked.status_code] == [503, 503]
        assert asked.json()["error"]["code"] == "store_unavailable"
        assert int(asked.headers["retry-after"]) >= 1
        time.sleep(0.1)
    stack.redis.resume()
    wait_until(lambda: visitor.http.get("/readyz").status_code == 200, description="the server is ready again")
    transcripts = [reader.wait_for_end() for reader in readers]
    assert {transcript.answer() for transcript in transcripts} == {"".join(text_for(QUESTION))}
    assert {reader.connections for reader in readers} == {1}
    assert {transcript.snapshots for transcript in transcripts} == {1}
    assert_ids_name_one_content(transcripts[:2])
    assert stack.pids == before
    for child, weight in zip((*stack.servers, *stack.workers), weights, strict=True):
        assert memory(child) - weight < GROWTH_BYTES
    assert len(execute(stack.redis, "CLIENT LIST")) <= CONNECTIONS
    assert max(waits) < 2 * TIMEOUT_SECONDS
    assert sorted(waits)[len(waits) // 2] < TIMEOUT_SECONDS / 2, "each request waited for a time-out of its own"
