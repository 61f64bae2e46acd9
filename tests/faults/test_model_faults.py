"""Every model failure in the table of `error.code`, from the socket to the reader's `end`, where nothing heals it."""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import running
from tests.support.client import SentEvent, Transcript, Visitor, lines_of, parse
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream

KEY = "sk-proj-Zb7Qm41fXe9TtVw0"
SILENCE = 1.0
# The worker retries before it gives up; the scripted model asks it to wait this long.
SOON = {"retry-after-ms": "1"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def stack(directory: Path) -> Generator[Stack]:
    settings = {
        "OPENAI_API_KEY": KEY,
        "MIDSENTENCE_MODEL_TIMEOUT_SECONDS": str(SILENCE),
        "MIDSENTENCE_HEAL_ATTEMPTS": "0",
        "MIDSENTENCE_BREAKER_FAILURES": "0",
    }
    with Upstream() as upstream:
        yield from running(Stack(directory, upstream, settings=settings))


@dataclass
class Fault:
    code: str
    retryable: bool
    answers: list[Answer]
    text: str = ""
    hint: str = ""
    down: bool = field(default=False)


FIVE = [*"ab", "断", "😀", "e"]
FAULTS = {
    "connection refused": Fault("model_unreachable", True, [], hint="OPENAI_BASE_URL", down=True),
    "401": Fault("model_refused_key", False, [Answer(status=401)], hint="OPENAI_API_KEY"),
    "401 that repeats the key": Fault(
        "model_refused_key", False, [Answer(status=401, body={"error": {"message": f"Incorrect API key: {KEY}."}})]
    ),
    "403 that repeats the key": Fault(
        "model_refused_key", False, [Answer(status=403, body={"error": {"message": f"No access for {KEY}."}})]
    ),
    "404": Fault("model_refused_request", False, [Answer(status=404)], hint="MIDSENTENCE_MODEL"),
    "429": Fault("model_rate_limited", True, [Answer(status=429, headers=SOON)] * 3),
    "500": Fault("model_failed", True, [Answer(status=500, headers=SOON)] * 3),
    "500 that repeats the key": Fault(
        "model_failed", True, [Answer(status=500, headers=SOON, body={"error": {"message": f"Bearer {KEY} broke"}})] * 3
    ),
    "an HTML page": Fault("model_failed", True, [Answer(body="<html>Welcome</html>")], hint="/v1"),
    "no finish reason and no [DONE]": Fault(
        "model_truncated", True, [Answer(FIVE, finish=None, done=False)], "".join(FIVE)
    ),
    "cut in mid-stream": Fault("model_truncated", True, [Answer(FIVE, cut_after=4)], "ab断😀"),
    "reset in mid-stream": Fault("model_truncated", True, [Answer(FIVE, cut_after=2, reset=True, delay=0.05)], "ab"),
    "silent from the beginning": Fault("model_stalled", True, [Answer(no_reply=True)]),
    "silent in mid-stream": Fault("model_stalled", True, [Answer(FIVE, stall_after=3)], "ab断"),
    "an error in mid-stream": Fault("model_failed", True, [Answer(FIVE, error_after=3)], "ab断"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_model_failure_ends_the_turn_with_its_error_code(
    stack: Stack, directory: Path, visitor: Visitor, fault: Fault
) -> None:
    """8.12, 8.14: the question and the partial text are kept, and the next message is answered."""
    provoke(stack, fault)
    try:
        session_id = visitor.start("Will you fail?")
        # From the message on: a model may fail before the reader attaches, who would then get a snapshot.
        transcript = visitor.read(session_id, Transcript(session_id, cursor="1.0-0"))
    finally:
        recover(stack, fault)
    end = next(event for event in transcript.events if event.type == "end").json
    message = end["error"]["message"]
    assert end["reason"] == "error"
    assert end["error"] == {"code": fault.code, "message": message, "retryable": fault.retryable}
    assert fault.hint in message
    assert (transcript.answer(), transcript.end()) == (fault.text, "error")
    assert visitor.http.get(f"/sessions/{session_id}").json()["messages"] == [
        {"turn": 1, "parent": 0, "role": "user", "text": "Will you fail?", "end": None},
        {
            "turn": 1,
            "parent": 0,
            "role": "assistant",
            "text": fault.text,
            "end": "error",
            "error": {"code": fault.code, "message": message, "retryable": fault.retryable},
        },
    ]
    stack.upstream.answers.append(Answer(["Well", "."]))
    visitor.send(session_id, "And now?")
    visitor.read(session_id, transcript)
    assert (transcript.answer(2), transcript.end(2)) == ("Well.", "stop")
    assert transcript.snapshots == 0
    assert_secret(directory, str(transcript.events))


@pytest.mark.parametrize("name", ["cut in mid-stream", "500", "silent from the beginning"])
def test_a_failed_one_shot_sends_failed_before_its_end(
    stack: Stack, directory: Path, visitor: Visitor, name: str
) -> None:
    """10.5: the partial text, `failed` with the error, [END]; a reconnect gets 204 and asks nothing."""
    fault = FAULTS[name]
    provoke(stack, fault)
    events = pushed(visitor)
    unnamed = [event.data for event in events if event.type == "message"]
    assert "".join(unnamed[:-1]) == fault.text
    failed, last = events[-2:]
    assert (failed.type, failed.json["code"], failed.json["retryable"]) == ("failed", fault.code, fault.retryable)
    assert (last.type, last.data) == ("message", "[END]")
    asked = len(stack.upstream.requests)
    again = visitor.http.get("/push", params={"param": "Will you fail?"}, headers={"Last-Event-ID": str(last.id)})
    assert again.status_code == 204
    assert len(stack.upstream.requests) == asked
    assert_secret(directory, str(events))


def test_a_message_queued_behind_a_failure_is_answered(stack: Stack, visitor: Visitor) -> None:
    """4.5: the queue goes on after any kind of end."""
    gate = Answer(FIVE, gate=True, cut_after=2)
    stack.upstream.answers += [gate, Answer(["Yes", "."])]
    session_id = visitor.start("Will you fail?")
    visitor.send(session_id, "And then?")
    gate.release_all()
    transcript = visitor.read(session_id)
    assert [transcript.end(1), transcript.end(2)] == ["error", "stop"]
    assert transcript.answer(2) == "Yes."


def test_only_the_provider_receives_the_key(stack: Stack, directory: Path, visitor: Visitor) -> None:
    """Proves that the key is used: the module's other tests would pass without one."""
    visitor.read(visitor.start("x"))
    assert stack.upstream.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert_secret(directory, visitor.http.get("/").text)


def provoke(stack: Stack, fault: Fault) -> None:
    assert not stack.upstream.answers
    stack.upstream.answers += fault.answers
    if fault.down:
        stack.upstream.stop()


def recover(stack: Stack, fault: Fault) -> None:
    if fault.down:
        stack.upstream.start()
    assert not stack.upstream.answers, "the worker made fewer requests than the fault scripts"


def pushed(visitor: Visitor) -> list[SentEvent]:
    with visitor.http.stream("GET", "/push", params={"param": "Will you fail?"}) as response:
        assert response.status_code == 200
        return [event for event in parse(lines_of(response.iter_raw())) if event.type]


def assert_secret(directory: Path, *shown: str) -> None:
    """Search everything that was sent and written: streams, logs and the append-only file."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {".log", ".aof"} <= {path.suffix for path in files}
    for text in (*shown, *(path.read_bytes().decode(errors="replace") for path in files)):
        assert KEY not in text
        assert KEY[8:] not in text, "no part of the key may appear"


def test_a_failed_answer_is_the_same_in_events_and_snapshot(stack: Stack, visitor: Visitor) -> None:
    """8.14, 8.15: folded from the events or read as a snapshot."""
    provoke(stack, FAULTS["an error in mid-stream"])
    session_id = visitor.start("Will you fail?")
    live = visitor.read(session_id, Transcript(session_id, cursor="1.0-0"))
    late = visitor.read(session_id, Transcript(session_id))
    assert [event.type for event in late.events] == ["snapshot", "state"]
    assert late.messages[1:] == live.messages, "`live` was read from behind the user's message"
