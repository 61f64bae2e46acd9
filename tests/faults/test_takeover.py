"""A worker is killed in mid-answer and another takes over: the reader's text, and the tokens that were paid for.

The tokens wait at a gate, so that each kill falls exactly after the tokens in the log.
"""

import random
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from midsentence_worker.models.base import Message
from midsentence_worker.models.demo import demo_answer, demo_reasoning
from tests.conftest import running
from tests.faults.watching import holder
from tests.support.client import Transcript, Visitor
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream, text_for
from tests.support.waiting import wait_until

QUESTION = "tokens=40 seed=5"
TOKENS = text_for(QUESTION)
TEXT = "".join(TOKENS)
# The tokens that are in the log when the worker dies.
BEFORE = 11

RESPONSES = {"MIDSENTENCE_API": "responses"}
REATTACH = RESPONSES | {"MIDSENTENCE_TAKEOVER": "reattach"}
CONTINUE = {"MIDSENTENCE_TAKEOVER": "continue"}
RESTART = {"MIDSENTENCE_TAKEOVER": "restart"}
FAIL = {"MIDSENTENCE_TAKEOVER": "fail"}


@pytest.fixture(scope="module")
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """Two workers, shared by all tests of the same settings."""
    settings = {"MIDSENTENCE_LEASE_SECONDS": "3", **request.param}
    with Upstream() as server:
        yield from running(Stack(tmp_path_factory.mktemp("takeover"), server, workers=2, settings=settings))


@pytest.fixture
def stack(started: Stack) -> Stack:
    started.upstream.reset()
    for worker in started.workers:
        if not worker.is_running:
            # The other worker answers meanwhile; this one has a lease's time to start.
            worker.spawn()
    return started


@pytest.fixture
def upstream(stack: Stack) -> Upstream:
    return stack.upstream


def with_settings(*settings: dict[str, str]) -> pytest.MarkDecorator:
    names = ["-".join(setting.values()) or "auto" for setting in settings]
    return pytest.mark.parametrize("started", settings, indirect=True, ids=names, scope="module")


def gated(upstream: Upstream) -> Answer:
    answer = Answer(tokens=TOKENS, gate=True)
    upstream.answers.append(answer)
    return answer


@contextmanager
def reading(visitor: Visitor, session_id: str) -> Generator[Future[Transcript]]:
    """Read on one connection from now to the turn's end."""
    pool = ThreadPoolExecutor(1)
    try:
        yield pool.submit(visitor.read, session_id)
    finally:
        pool.shutdown(wait=False)


def text_in_log(visitor: Visitor, session_id: str) -> str:
    messages = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    return "".join(message["text"] for message in messages if message["role"] == "assistant")


def wait_for_text(visitor: Visitor, session_id: str, text: str) -> None:
    wait_until(lambda: text_in_log(visitor, session_id) == text, description=f"the log holds {text!r}")


def killed_in_mid_answer(stack: Stack, visitor: Visitor, answer: Answer) -> str:
    """Ask, and kill the worker after its first tokens; returns the session's id."""
    session_id = visitor.start(QUESTION)
    answer.release(BEFORE)
    wait_for_text(visitor, session_id, "".join(TOKENS[:BEFORE]))
    holder(stack, session_id).kill()
    return session_id


def resets(transcript: Transcript) -> int:
    return sum(event.type == "reset" for event in transcript.events)


@with_settings(RESPONSES)
@pytest.mark.parametrize("goes_on", ["meanwhile", "afterwards"])
def test_reattaching_pays_for_no_token_twice(stack: Stack, visitor: Visitor, upstream: Upstream, goes_on: str) -> None:
    """The default with the Responses API."""
    answer = gated(upstream)
    session_id = killed_in_mid_answer(stack, visitor, answer)
    with reading(visitor, session_id) as reader:
        if goes_on == "afterwards":
            wait_until(lambda: upstream.responses[0].streamed > 1, description="another worker listens")
        answer.release_all()
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 0)
    (response,) = upstream.responses
    assert (response.generated, response.cancelled, len(upstream.requests)) == (len(TOKENS), 0, 1)


@with_settings(CONTINUE)
def test_continuing_pays_only_for_the_missing_tokens(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """The second request ends with the partial answer."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 0)
    assert [request.sent for request in upstream.requests] == [BEFORE, len(TOKENS) - BEFORE]


@with_settings({}, RESTART)
def test_restarting_resets_the_answer_and_asks_again(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """The default with chat completions, since not every server can continue."""
    answer = gated(upstream)
    with reading(visitor, killed_in_mid_answer(stack, visitor, answer)) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 1)
    assert [request.sent for request in upstream.requests] == [BEFORE, len(TOKENS)]


@with_settings(CONTINUE, RESTART)
def test_a_takeover_repeats_no_reasoning(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """The model reasons again in the second attempt; the reader has one reasoning."""
    answer = gated(upstream)
    answer.reasoning = ("Hm, ", "let me see. ")
    upstream.answers.append(Answer(tokens=TOKENS, reasoning=answer.reasoning))
    session_id = visitor.start(QUESTION)
    answer.release(len(answer.reasoning) + BEFORE)
    wait_for_text(visitor, session_id, "".join(TOKENS[:BEFORE]))
    holder(stack, session_id).kill()
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end()) == (TEXT, "stop")
    assert transcript.messages[-1].reasoning == "Hm, let me see. "
    assert transcript.messages == visitor.read(session_id, Transcript(session_id)).messages
    assert "Hm" not in str([request.messages for request in upstream.requests]), (
        "reasoning must not be sent to the model"
    )


@with_settings(CONTINUE)
def test_a_takeover_during_the_reasoning_restarts_the_answer(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """There is no text yet to continue from."""
    answer = gated(upstream)
    answer.reasoning = ("Wrong, ", "wrong. ")
    upstream.answers.append(Answer(tokens=TOKENS, reasoning=("Right.",)))
    session_id = visitor.start(QUESTION)
    answer.release()
    url = f"/sessions/{session_id}"
    wait_until(lambda: "Wrong" in visitor.http.get(url).text, description="some reasoning is in the log")
    holder(stack, session_id).kill()
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.messages[-1].reasoning) == (TEXT, "Right.")
    assert resets(transcript) == 1


@with_settings({}, CONTINUE)
def test_a_takeover_continues_a_branch_on_its_own_path(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """The second worker reads the parent from the log."""
    upstream.answers.append(Answer(tokens=["Another branch."]))
    session_id = visitor.start("Another question.")
    visitor.read(session_id)
    answer = gated(upstream)
    visitor.http.post(f"/sessions/{session_id}/messages", json={"text": QUESTION, "parent": 0})
    answer.release(BEFORE)
    wait_for_text(visitor, session_id, "Another branch." + "".join(TOKENS[:BEFORE]))
    holder(stack, session_id).kill()
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(2), transcript.end(2)) == (TEXT, "stop")
    assert [(entry.turn, entry.parent) for entry in transcript.messages] == [(1, 0), (1, 0), (2, 0), (2, 0)]
    asked = [request.messages[0]["content"] for request in upstream.requests]
    assert asked == ["Another question.", QUESTION, QUESTION]


@with_settings(FAIL)
def test_failing_keeps_the_partial_text_and_calls_no_model(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """The turn ends with the error `worker_lost`."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == ("".join(TOKENS[:BEFORE]), "error", 0)
    ends = [event.json["error"] for event in transcript.events if event.type == "end"]
    assert [(error["code"], error["retryable"]) for error in ends] == [("worker_lost", True)]
    assert len(upstream.requests) == 1


@with_settings(CONTINUE)
def test_a_refused_continuation_restarts_the_answer(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """The model answers 400 to a request that ends with an assistant's message."""
    answer = gated(upstream)
    upstream.refuses_partial = True
    with reading(visitor, killed_in_mid_answer(stack, visitor, answer)) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 1)
    assert sum(request.sent for request in upstream.requests) == BEFORE + len(TOKENS)


@with_settings(REATTACH)
def test_a_response_that_the_provider_lost_is_requested_again(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """The provider answers 404 to the reattach."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    forgotten = upstream.responses.pop()
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 1)
    assert [response.generated for response in (forgotten, *upstream.responses)] == [BEFORE, len(TOKENS)]


@with_settings(REATTACH, CONTINUE)
def test_an_answer_survives_three_lost_workers(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    seed = random.randrange(10**6)
    print(f"seed={seed}")
    kills = sorted(random.Random(seed).sample(range(1, len(TOKENS)), 3))
    in_background = "MIDSENTENCE_API" in stack.environment
    answers = [gated(upstream) for _ in range(1 if in_background else len(kills) + 1)]
    session_id = visitor.start(QUESTION)
    released = 0
    with reading(visitor, session_id) as reader:
        for number, position in enumerate(kills):
            answers[0 if in_background else number].release(position - released)
            released = position
            wait_for_text(visitor, session_id, "".join(TOKENS[:position]))
            lost = holder(stack, session_id)
            lost.kill()
            lost.spawn()
        answers[-1].release_all()
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 0)
    paid = upstream.responses[0].generated if in_background else sum(request.sent for request in upstream.requests)
    assert paid == len(TOKENS)


@with_settings(REATTACH)
def test_a_draining_worker_hands_over_its_response(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """Closing the stream must not cancel a background response."""
    answer = gated(upstream)
    session_id = visitor.start(QUESTION)
    answer.release(BEFORE)
    wait_for_text(visitor, session_id, "".join(TOKENS[:BEFORE]))
    with reading(visitor, session_id) as reader:
        holder(stack, session_id).stop()
        answer.release_all()
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 0)
    assert [response.generated for response in upstream.responses] == [len(TOKENS)]


@with_settings({"MIDSENTENCE_MODEL": "demo"})
def test_the_demo_continues_after_a_takeover(stack: Stack, visitor: Visitor) -> None:
    question = "What happens if I kill you?"
    session_id = visitor.start(question)
    wait_until(lambda: len(text_in_log(visitor, session_id)) > 100, description="the demo is in mid-answer")
    with reading(visitor, session_id) as reader:
        holder(stack, session_id).kill()
        transcript = reader.result(30)
    expected = demo_answer([Message("user", question)])
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (expected, "stop", 0)


@with_settings({"MIDSENTENCE_MODEL": "demo"})
@pytest.mark.parametrize("dies_in", ["reasoning", "text"])
def test_the_demo_repeats_no_reasoning_after_a_takeover(stack: Stack, visitor: Visitor, dies_in: str) -> None:
    """Lost while reasoning, it restarts with a reset; lost in its text, it keeps the reasoning and continues."""
    question = "Think, and show me a table."
    session_id = visitor.start(question)

    def in_the_middle() -> bool:
        answer = visitor.http.get(f"/sessions/{session_id}").json()["messages"][-1]
        return answer["role"] == "assistant" and len(answer.get(dies_in, "")) > 60

    wait_until(in_the_middle, description=f"the demo is in the middle of its {dies_in}")
    with reading(visitor, session_id) as reader:
        holder(stack, session_id).kill()
        transcript = reader.result(30)
    asked = [Message("user", question)]
    answer = transcript.messages[-1]
    assert (answer.reasoning, answer.text, answer.end) == (demo_reasoning(asked), demo_answer(asked), "stop")
    assert resets(transcript) == (1 if dies_in == "reasoning" else 0)
    assert transcript.messages == visitor.read(session_id, Transcript(session_id)).messages


@with_settings(REATTACH)
def test_stopping_a_turn_cancels_its_response_within_a_second(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """5.2: otherwise the provider writes the response to its end, and is paid for it."""
    answer = gated(upstream)
    session_id = visitor.start(QUESTION)
    answer.release(BEFORE)
    wait_for_text(visitor, session_id, "".join(TOKENS[:BEFORE]))
    reply = visitor.http.post(f"/sessions/{session_id}/stop", json={})
    assert (reply.status_code, reply.json()) == (200, {"session_id": session_id, "turn": 1, "reason": "stopped"})
    (response,) = upstream.responses
    wait_until(lambda: response.status == "cancelled", description="the provider stopped writing", timeout=1)
    answer.release_all()
    assert text_in_log(visitor, session_id) == "".join(TOKENS[:BEFORE])
    assert response.generated == BEFORE


@with_settings(RESPONSES | FAIL, RESPONSES | RESTART)
def test_a_response_that_no_worker_reattaches_to_is_cancelled(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """Otherwise the provider writes it to its end, and is paid for it."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    with reading(visitor, session_id) as reader:
        reader.result(30)
    assert upstream.responses[0].status == "cancelled"
    assert upstream.responses[0].generated == BEFORE


@with_settings(RESPONSES)
def test_stopping_a_lost_turn_cancels_its_response(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """No worker holds the turn when the stop arrives; the next claim cancels the response."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    assert visitor.http.post(f"/sessions/{session_id}/stop", json={}).json()["reason"] == "stopped"
    (response,) = upstream.responses
    wait_until(lambda: response.status == "cancelled", description="the provider stopped writing")
    assert response.generated == BEFORE
