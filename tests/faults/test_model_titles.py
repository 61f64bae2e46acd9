"""Rule 6.4: a model titles a session after its first answer, and nothing waits for it."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import running
from tests.support.client import Visitor
from tests.support.http_exchange import Request
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

QUESTION = "What is a stream?"
ANSWER = ["A stream ", "is a log."]
TITLER = "small"
# Seconds within which a process that waits for nothing ends, also on a busy machine.
SOON = 8


@pytest.fixture
def api(request: pytest.FixtureRequest) -> str:
    """The API of the model that writes the titles."""
    return getattr(request, "param", "chat")


@pytest.fixture
def stack(tmp_path: Path, upstream: Upstream, api: str) -> Generator[Stack]:
    models = tmp_path / "models.toml"
    models.write_text(f'[[models]]\nname = "large"\n\n[[models]]\nname = "{TITLER}"\napi = "{api}"\n')
    settings = {
        "MIDSENTENCE_MODEL": "",
        "MIDSENTENCE_MODELS": str(models),
        "MIDSENTENCE_TITLE_MODEL": TITLER,
        "MIDSENTENCE_DRAIN_SECONDS": "20",
        # If a turn waited for its title, no other turn could begin.
        "MIDSENTENCE_WORKER_CONCURRENCY": "1",
        "MIDSENTENCE_LOG_LEVEL": "info",
    }
    yield from running(Stack(tmp_path, upstream, settings=settings))


def title_requests(stack: Stack) -> list[Request]:
    return [request for request in stack.upstream.requests if request.body["model"] == TITLER]


def script(stack: Stack, *answers: Answer) -> None:
    stack.upstream.answers.extend(answers)


def listed_titles(visitor: Visitor) -> list[str]:
    return [session["title"] for session in visitor.http.get("/sessions").json()["sessions"]]


def wait_for_title(visitor: Visitor, title: str) -> None:
    wait_until(lambda: listed_titles(visitor)[0] == title, description=f"the session is titled {title}")


def logged(stack: Stack, event: str, session_id: str) -> dict[str, Any]:
    """The one line of the worker's log that tells this of a session, when it is there."""

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in stack.workers[0].log.splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event and line["session"] == session_id]

    wait_until(lines, description=f"{event} is logged")
    (line,) = lines()
    return line


def test_a_model_titles_a_session_once(stack: Stack, visitor: Visitor) -> None:
    """6.4, 6.2: readers receive it; the model is sent question and answer; later answers change nothing."""
    title = Answer(["“Streams ", "and logs.”\n"], reasoning=["They ask ", "about streams."], gate=True, usage=(50, 5))
    script(stack, Answer(ANSWER), title)
    session_id = visitor.start(QUESTION)
    with visitor.events(session_id, until_end=False) as events:
        end = next(event for event in events if event.type == "end")
        title.release_all()
        state = next(event for event in events if event.type == "state" and event.json["title"] != QUESTION)
    assert state.json["title"] == listed_titles(visitor)[0] == "Streams and logs"
    assert end.json["usage"] == {"input_tokens": 11, "output_tokens": 7, "source": "reported"}
    (request,) = title_requests(stack)
    assert QUESTION in request.question
    assert "".join(ANSWER) in request.question
    line = logged(stack, "title_made", session_id)
    assert (line["input_tokens"], line["output_tokens"], line["stored"]) == (50, 5, True)
    visitor.send(session_id, QUESTION)
    assert visitor.read(session_id).end() == "stop"
    assert visitor.start(QUESTION)
    wait_until(lambda: len(title_requests(stack)) == 2, description="another session is titled")
    assert listed_titles(visitor)[-1] == "Streams and logs"


def test_no_answer_waits_for_a_title(stack: Stack, visitor: Visitor) -> None:
    """6.4: the end, and the next turn of the session, come before it."""
    title = Answer(["Streams"], gate=True)
    script(stack, Answer(ANSWER), title, Answer(["Of another turn."]))
    session_id = visitor.start(QUESTION)
    assert visitor.read(session_id).end() == "stop"
    wait_until(lambda: title_requests(stack), description="a title is asked for")
    visitor.send(session_id, "And another?")
    assert visitor.read(session_id).answer(2) == "Of another turn."
    assert listed_titles(visitor)[0] == QUESTION
    title.release_all()
    wait_for_title(visitor, "Streams")


def test_the_owners_title_wins_over_a_models(stack: Stack, visitor: Visitor) -> None:
    """6.4: that of a PATCH while the model writes its own, even where it has the words of the automatic one."""
    for number, given in enumerate(["Mine", QUESTION]):
        title = Answer(["Streams"], gate=True)
        script(stack, Answer(ANSWER), title)
        session_id = visitor.start(QUESTION)
        visitor.read(session_id)
        wait_until(lambda count=number + 1: len(title_requests(stack)) == count, description="a title is asked for")
        visitor.http.patch(f"/sessions/{session_id}", json={"title": given})
        title.release_all()
        assert logged(stack, "title_made", session_id)["stored"] is False
        assert listed_titles(visitor)[0] == given


def test_no_title_is_asked_for_where_the_owner_gave_one(stack: Stack, visitor: Visitor) -> None:
    """6.4: a PATCH before the turn's model is asked, so that no token is paid for in vain."""
    stack.workers[0].pause()
    session_id = visitor.start(QUESTION)
    visitor.http.patch(f"/sessions/{session_id}", json={"title": "Mine"})
    stack.workers[0].resume()
    assert visitor.read(session_id).end() == "stop"
    other = visitor.start("Is there another?")
    wait_until(lambda: title_requests(stack), description="the other session is titled")
    assert [QUESTION in request.question for request in title_requests(stack)] == [False]
    visitor.read(other)
    assert "Mine" in listed_titles(visitor)


def test_a_title_follows_the_first_answer_that_ended_well(stack: Stack, visitor: Visitor) -> None:
    """6.4: a failed turn and a stopped one are titled by the answer after them."""
    running_answer = Answer(ANSWER, gate=True)
    script(
        stack, Answer(status=401, body={"error": {"message": "no"}}), running_answer, Answer(ANSWER, finish="length")
    )
    script(stack, Answer(["Streams"]))
    session_id = visitor.start(QUESTION)
    assert visitor.read(session_id).end() == "error"
    visitor.send(session_id, "Again?")
    wait_until(lambda: stack.upstream.requests[-1].question == "Again?", description="the second turn runs")
    visitor.http.post(f"/sessions/{session_id}/stop")
    visitor.send(session_id, "And now?")
    assert visitor.read(session_id).end(3) == "length"
    wait_for_title(visitor, "Streams")
    (request,) = title_requests(stack)
    assert "And now?" in request.question


TITLES_THAT_FAIL = {
    "a refusal": Answer(status=401, body={"error": {"message": "no such key"}}),
    "a cut": Answer(["Streams ", "and "], cut_after=1),
    "an error": Answer(["Streams ", "and "], error_after=1),
}


def test_a_title_that_fails_changes_nothing(stack: Stack, visitor: Visitor) -> None:
    """6.4: the session keeps its first title, and the log says why in one line."""
    for how, failing in TITLES_THAT_FAIL.items():
        script(stack, Answer(ANSWER), failing)
        session_id = visitor.start(QUESTION)
        assert visitor.read(session_id).end() == "stop"
        line = logged(stack, "title_failed", session_id)
        assert line["model"] == TITLER, how
        assert line["error"], how
        assert listed_titles(visitor)[0] == QUESTION


@pytest.mark.parametrize("api", ["responses"], indirect=True)
def test_a_shutdown_cancels_a_title(stack: Stack, visitor: Visitor) -> None:
    """A worker that has only a title to wait for exits at once, and its response does not go on in the background."""
    title = Answer(["Streams"], gate=True)
    script(stack, Answer(ANSWER), title)
    visitor.read(visitor.start(QUESTION))
    wait_until(lambda: title_requests(stack), description="a title is asked for")
    worker = stack.workers[0].process
    worker.terminate()
    assert worker.wait(SOON) == 0
    assert [response["status"] for response in stack.upstream.responses.summary] == ["cancelled"]
    assert listed_titles(visitor)[0] == QUESTION
