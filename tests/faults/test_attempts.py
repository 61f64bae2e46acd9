"""Rules 8.18 to 8.21: an answer that broke off, as its readers see it."""

import json
from collections.abc import Generator, Sequence
from typing import Any

import pytest

from midsentence.events import Failure
from tests.conftest import running
from tests.faults.watching import take_until
from tests.support.client import Transcript, Visitor
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

KEY = "sk-proj-Zb7Qm41fXe9TtVw0"
HOST = "models.provider.invalid"
FIRST = ["One ", "mind ", "begins", "."]
SECOND = ["Another ", "😀", " ends."]
WORDS = "Overloaded, said the provider"
SECRETS = (
    *(f"https://{HOST}/v1/chat", f"{HOST}:8443", "10.1.2.3:8080", "[2001:db8::1]:443", KEY, "req_0123456789abcdef"),
    *("Bearer abcdefghijkl", "request id: 0a1b2c3d4e5f"),
)
QUOTED = f"{WORDS}: {' '.join(SECRETS)}"

MODELS = f"""
[[models]]
name = "first"
base_url = "URL"
api_key = "{KEY}"
[[models]]
name = "away"
base_url = "http://{HOST}/v1"
fallbacks = ["first"]
[[models]]
name = "alone"
base_url = "http://{HOST}:8443/v1"
[[models]]
name = "refused"
base_url = "URL"
fallbacks = ["first"]
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    directory = tmp_path_factory.mktemp("attempts")
    with Upstream() as upstream:
        models = directory / "models.toml"
        models.write_text(MODELS.replace("URL", upstream.url))
        settings = {
            "MIDSENTENCE_MODEL": "",
            "OPENAI_BASE_URL": "",
            "MIDSENTENCE_MODELS": str(models),
            "MIDSENTENCE_BREAKER_FAILURES": "0",
            "MIDSENTENCE_HEAL_ATTEMPTS": "3",
        }
        yield from running(Stack(directory, upstream, settings=settings))


@pytest.fixture
def stack(started: Stack) -> Stack:
    started.upstream.reset()
    return started


@pytest.fixture
def upstream(stack: Stack) -> Upstream:
    return stack.upstream


def ask(visitor: Visitor, model: str = "first") -> str:
    return visitor.http.post("/sessions", json={"text": "Is anybody there?", "model": model}).json()["session_id"]


def broken(tokens: Sequence[str], failure: object) -> Answer:
    """An answer that ends in an error of the provider."""
    deltas = [{"choices": [{"index": 0, "delta": {"content": token}}]} for token in tokens]
    return Answer(raw=[b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in [*deltas, failure]])


def events_of(transcript: Transcript) -> list[tuple[str, Any]]:
    """The events of the turn, without those of a run of deltas behind the first."""
    found = [(event.type, event.json) for event in transcript.events if event.id is not None]
    return [each for number, each in enumerate(found) if each[0] != "delta" or found[number - 1][0] != "delta"]


def shown(visitor: Visitor, session_id: str) -> Any:
    return visitor.http.get(f"/sessions/{session_id}").json()


def watched(visitor: Visitor, session_id: str, *gates: Answer) -> Transcript:
    """Open the gates when a reader is there, and read to the end."""
    transcript = Transcript(session_id)
    with visitor.events(session_id) as events:
        take_until(transcript, events, lambda: transcript.snapshots)
        for gate in gates:
            gate.release_all()
        for event in events:
            transcript.take(event)
    return transcript


def test_reset_stands_directly_before_the_start_of_its_attempt(visitor: Visitor, upstream: Upstream) -> None:
    """8.18, 8.19: the number of the attempt rises with each, and the `reset` has it too."""
    answers = [Answer(FIRST, cut_after=3, gate=True), Answer(FIRST, cut_after=1), Answer(SECOND)]
    upstream.answers += answers
    transcript = watched(visitor, ask(visitor), answers[0])
    told = [
        (kind, data["attempt"]) if kind in {"reset", "start"} else kind
        for kind, data in events_of(transcript)
        if kind in {"start", "reset", "delta", "end"}
    ]
    # The first `start` may have come before the reader.
    assert told[told.index("delta") :] == [
        *("delta", ("reset", 2), ("start", 2), "delta", ("reset", 3), ("start", 3), "delta", "end")
    ]
    assert (transcript.answer(), transcript.end()) == ("".join(SECOND), "stop")


@pytest.mark.parametrize(
    "second",
    [Answer(SECOND, gate=True), Answer(status=429, headers={"retry-after": "20"})],
    ids=["before the first token", "in a pause"],
)
def test_text_stays_until_the_new_attempt_brings_something(
    visitor: Visitor, upstream: Upstream, second: Answer
) -> None:
    """8.19, and GET /sessions/{id} meanwhile: the answer is not closed, and the session is `streaming`."""
    upstream.answers += [Answer(FIRST, cut_after=3), second]
    session_id = ask(visitor)
    wait_until(lambda: len(upstream.requests) == 2, description="the model was asked again")
    wait_until(lambda: len(shown(visitor, session_id)["messages"]) == 2, description="the text is in the log")
    session = shown(visitor, session_id)
    assert session["state"] == "streaming"
    assert (session["messages"][1]["text"], session["messages"][1]["end"]) == ("".join(FIRST[:3]), None)
    with visitor.events(session_id, session["cursor"]) as events:
        if second.gate:
            second.release_all()
        else:
            assert visitor.http.post(f"/sessions/{session_id}/stop").status_code == 200
        kinds = [event.type for event in events if event.id is not None]
    assert kinds[:2] == (["reset", "start"] if second.gate else ["end"])
    final = shown(visitor, session_id)["messages"][1]
    expected = ("".join(SECOND), "stop") if second.gate else ("".join(FIRST[:3]), "stopped")
    assert (final["text"], final["end"]) == expected


@pytest.mark.parametrize(
    "last",
    [Answer([]), Answer(status=400), Answer(status=500, headers={"retry-after-ms": "1"})],
    ids=["empty", "refused", "failed"],
)
def test_text_stays_where_no_further_attempt_brings_any(visitor: Visitor, upstream: Upstream, last: Answer) -> None:
    """8.19"""
    upstream.answers += [Answer(FIRST, cut_after=3), *[last] * 9]
    session_id = ask(visitor)
    transcript = visitor.read(session_id)
    assert (transcript.answer(), transcript.end()) == ("".join(FIRST[:3]), "error")


def test_usage_of_all_attempts_adds_up(visitor: Visitor, upstream: Upstream) -> None:
    """8.12: what each attempt used, in their order."""
    answers = [Answer(FIRST, cut_after=3, gate=True), Answer(SECOND, usage=(11, 7))]
    upstream.answers += answers
    transcript = watched(visitor, ask(visitor), answers[0])
    (usage,) = [event.json["usage"] for event in transcript.events if event.type == "end"]
    first, second = usage["attempts"]
    assert second == {"model": "first", "input_tokens": 11, "output_tokens": 7, "source": "reported"}
    assert (first["model"], first["source"]) == ("first", "estimated")
    assert (usage["input_tokens"], usage["output_tokens"], usage["source"]) == (
        first["input_tokens"] + 11,
        first["output_tokens"] + 7,
        "estimated",
    )


@pytest.mark.parametrize("model", ["away", "refused"])
def test_fallback_is_named_in_start_and_state(visitor: Visitor, upstream: Upstream, model: str) -> None:
    """8.18"""
    answer = Answer(SECOND, gate=True)
    upstream.answers += [*([Answer(status=401)] if model == "refused" else []), answer]
    session_id = ask(visitor, model)
    transcript = Transcript(session_id)
    with visitor.events(session_id) as events:
        take_until(transcript, events, lambda: transcript.state and transcript.state["model"] == "first")
        answer.release_all()
        for event in events:
            transcript.take(event)
    assert (transcript.answer(), transcript.end()) == ("".join(SECOND), "stop")
    assert [event.json["model"] for event in transcript.events if event.type == "start"][-1] == "first"
    assert transcript.state["model"] == "first"


def assert_no_secret(text: str) -> None:
    for secret in (*SECRETS, HOST, KEY, "0a1b2c3d4e5f", "abcdefghijkl", "127.0.0.1", "localhost", "8443"):
        assert secret not in text, text


def test_reason_of_a_reset_has_the_words_of_the_provider_and_no_secret(visitor: Visitor, upstream: Upstream) -> None:
    """8.21"""
    answer = Answer(SECOND, gate=True)
    upstream.answers += [broken(FIRST, {"error": {"message": QUOTED, "code": 503}}), answer]
    transcript = watched(visitor, ask(visitor), answer)
    assert transcript.end() == "stop"
    resets = [event.json["why"] for event in transcript.events if event.type == "reset"]
    assert len(resets) == 1
    assert WORDS in resets[0]
    assert_no_secret(resets[0])


@pytest.mark.parametrize("text", [[], FIRST], ids=["without text", "after text"])
def test_error_has_the_words_of_the_provider_and_no_secret(
    visitor: Visitor, upstream: Upstream, text: list[str]
) -> None:
    """8.21"""
    failure = {"error": {"message": QUOTED, "code": 400}}
    upstream.answers += [broken(text, failure)] * 9
    transcript = visitor.read(ask(visitor))
    message = error_of(transcript)
    assert WORDS in message
    assert_no_secret(message)


def test_error_of_a_provider_that_is_away_names_no_host(visitor: Visitor) -> None:
    """8.21: the model's name tells the operator which one, and the worker's log has the address."""
    transcript = visitor.read(ask(visitor, "alone"))
    message = error_of(transcript)
    assert "The model alone does not answer" in message
    assert_no_secret(message)


def error_of(transcript: Transcript) -> str:
    (error,) = [message.error for message in transcript.messages if message.end == "error"]
    assert isinstance(error, Failure)
    return error.message
