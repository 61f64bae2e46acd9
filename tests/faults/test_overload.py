"""A worker that is offered more than its core can do: no turn is lost or answered twice, and all turns go on."""

import json

import pytest

from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Answer
from tests.support.waiting import wait_until

TURNS = 32
TOKENS = [f"{number} " for number in range(2000)]
TEXT = "".join(TOKENS)
# The provider writes all of this as fast as it can.
EVENTS = [
    b"data: %b\n\n"
    % json.dumps({"choices": [{"delta": {"content": token}, "logprobs": None}], "pad": "x" * 200}).encode()
    for token in TOKENS
]
BODY = [b"".join(EVENTS[at : at + 100]) for at in range(0, len(EVENTS), 100)] + [b"data: [DONE]\n\n"]


@pytest.fixture
def stack_settings() -> dict[str, str]:
    return {"MIDSENTENCE_LEASE_SECONDS": "5", "MIDSENTENCE_WORKER_CONCURRENCY": str(TURNS)}


def test_every_stream_goes_on_and_no_lease_is_lost(stack: Stack, visitor: Visitor) -> None:
    def texts() -> list[str]:
        snapshots = [visitor.http.get(f"/sessions/{session_id}").json() for session_id in sessions]
        return [snapshot["messages"][-1]["text"] for snapshot in snapshots if len(snapshot["messages"]) == 2]

    answers = [Answer(raw=BODY, gate=True) for _ in range(TURNS)]
    stack.upstream.answers += answers
    sessions = [visitor.start(f"Question {number}") for number in range(TURNS)]
    wait_until(lambda: len(stack.upstream.requests) == TURNS, description="all turns have begun")
    for answer in answers:
        answer.release_all()
    wait_until(lambda: TEXT in texts(), description="the first answer is whole")
    # All streams began together and are read in turn.
    assert min(map(len, texts())) > len(TEXT) / 4
    wait_until(lambda: texts() == [TEXT] * TURNS, description="all answers are whole")
    assert len(stack.upstream.requests) == TURNS
    assert [visitor.read(session_id).end() for session_id in sessions] == ["stop"] * TURNS
