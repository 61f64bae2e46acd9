"""A worker is killed in mid-answer and another takes over: what the reader sees, and what the model was paid for.

The tokens stand behind a gate, so that each kill falls exactly behind the tokens that are in the log.
"""

import random
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import pytest
from redis import Redis

from midsentence import keys
from midsentence_worker.models.base import Message
from midsentence_worker.models.demo import demo_answer, demo_thought
from tests.conftest import running
from tests.support.client import Transcript, Visitor
from tests.support.processes import Stack, WorkerChild
from tests.support.upstream import Answer, Upstream, text_for
from tests.support.waiting import wait_until

QUESTION: Final = "tokens=40 seed=5"
TOKENS: Final = text_for(QUESTION)
TEXT: Final = "".join(TOKENS)
# So many are in the log when the worker dies.
BEFORE: Final = 11

RESPONSES: Final = {"MIDSENTENCE_API": "responses"}
REATTACH: Final = RESPONSES | {"MIDSENTENCE_TAKEOVER": "reattach"}
CONTINUE: Final = {"MIDSENTENCE_TAKEOVER": "continue"}
RESTART: Final = {"MIDSENTENCE_TAKEOVER": "restart"}
FAIL: Final = {"MIDSENTENCE_TAKEOVER": "fail"}


@pytest.fixture(scope="module")
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """Two workers, for all tests of the same settings."""
    settings = {"MIDSENTENCE_LEASE_SECONDS": "3", **request.param}
    with Upstream() as server:
        yield from running(Stack(tmp_path_factory.mktemp("takeover"), server, workers=2, settings=settings))


@pytest.fixture
def stack(started: Stack) -> Stack:
    started.upstream.forget()
    for worker in started.workers:
        if not worker.is_running:
            # The other one answers; this one has its lease's time to be there.
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


def holder(stack: Stack, session_id: str) -> WorkerChild:
    """Find the worker that has the turn."""
    with Redis.from_url(stack.redis.url, decode_responses=True) as redis:  # pyright: ignore[reportUnknownMemberType]
        name = redis.hget(keys.session(session_id).meta, "lease")
    pid = int(str(name).split(":")[-2])
    return next(worker for worker in stack.workers if worker.is_running and worker.process.pid == pid)


def killed_in_mid_answer(stack: Stack, visitor: Visitor, answer: Answer) -> str:
    """Ask, and kill whoever answers behind the first tokens; returns the session's id."""
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
    """Responses do so by themselves. Seen red with the mark ignored, and with "restart" named as their best."""
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
def test_continuing_pays_for_the_tokens_that_are_not_in_the_log(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """Seen red without the partial answer in the second request: the reader had the beginning twice."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 0)
    assert [request.sent for request in upstream.requests] == [BEFORE, len(TOKENS) - BEFORE]


@with_settings({}, RESTART)
def test_restarting_asks_for_everything_again_and_says_so(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """Chat completions do so unless somebody vouches for their server. Seen red with the reset taken out."""
    answer = gated(upstream)
    with reading(visitor, killed_in_mid_answer(stack, visitor, answer)) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 1)
    assert [request.sent for request in upstream.requests] == [BEFORE, len(TOKENS)]


@with_settings(CONTINUE, RESTART)
def test_what_was_thought_is_never_there_twice(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """The server thinks again before it goes on. Seen red with a continued answer's second thoughts written."""
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
    assert "Hm" not in str([request.messages for request in upstream.requests]), "nor is it sent to the model"


@with_settings(CONTINUE)
def test_who_was_lost_while_it_thought_thinks_anew(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """There is no text yet to go on from."""
    answer = gated(upstream)
    answer.reasoning = ("Wrong, ", "wrong. ")
    upstream.answers.append(Answer(tokens=TOKENS, reasoning=("Right.",)))
    session_id = visitor.start(QUESTION)
    answer.release()
    url = f"/sessions/{session_id}"
    wait_until(lambda: "Wrong" in visitor.http.get(url).text, description="a thought is in the log")
    holder(stack, session_id).kill()
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.messages[-1].reasoning) == (TEXT, "Right.")
    assert resets(transcript) == 1


@with_settings({}, CONTINUE)
def test_a_branch_is_gone_on_with_on_its_own_path(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """The worker that takes it over learns the parent from the log."""
    upstream.answers.append(Answer(tokens=["Another branch."]))
    session_id = visitor.start("Another question.")
    visitor.read(session_id)
    answer = gated(upstream)
    visitor.http.post(f"/sessions/{session_id}/messages", json={"text": QUESTION, "parent": 0})
    answer.release(BEFORE)
    said = "Another branch." + "".join(TOKENS[:BEFORE])
    wait_for_text(visitor, session_id, said)
    holder(stack, session_id).kill()
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(2), transcript.end(2)) == (TEXT, "stop")
    assert [(entry.turn, entry.parent) for entry in transcript.messages] == [(1, 0), (1, 0), (2, 0), (2, 0)]
    asked = [request.messages[0]["content"] for request in upstream.requests]
    assert asked == ["Another question.", QUESTION, QUESTION]


@with_settings(FAIL)
def test_failing_keeps_what_was_said_and_asks_nobody(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """Seen red with the branch for "fail" taken out: the answer was asked for again."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == ("".join(TOKENS[:BEFORE]), "error", 0)
    ends = [event.json["error"] for event in transcript.events if event.type == "end"]
    assert [(error["code"], error["retryable"]) for error in ends] == [("worker_lost", True)]
    assert len(upstream.requests) == 1


@with_settings(CONTINUE)
def test_a_server_that_refuses_to_continue_is_asked_anew(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """Seen red with the 400 left a ModelError: the turn ended with `model_refused_request`."""
    answer = gated(upstream)
    upstream.refuses_partial = True
    with reading(visitor, killed_in_mid_answer(stack, visitor, answer)) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 1)
    assert sum(request.sent for request in upstream.requests) == BEFORE + len(TOKENS)


@with_settings(REATTACH)
def test_a_response_that_the_provider_forgot_is_asked_for_anew(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """Seen red with the 404 left a ModelError: the turn ended with `model_truncated`."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    forgotten = upstream.responses.pop()
    with reading(visitor, session_id) as reader:
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 1)
    assert [response.generated for response in (forgotten, *upstream.responses)] == [BEFORE, len(TOKENS)]


@with_settings(REATTACH, CONTINUE)
def test_worker_after_worker_dies_and_the_answer_goes_on(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    seed = random.randrange(10**6)
    print(f"seed={seed}")
    places = sorted(random.Random(seed).sample(range(1, len(TOKENS)), 3))
    in_background = "MIDSENTENCE_API" in stack.environment
    answers = [gated(upstream) for _ in range(1 if in_background else len(places) + 1)]
    session_id = visitor.start(QUESTION)
    said = 0
    with reading(visitor, session_id) as reader:
        for number, place in enumerate(places):
            answers[0 if in_background else number].release(place - said)
            said = place
            wait_for_text(visitor, session_id, "".join(TOKENS[:place]))
            lost = holder(stack, session_id)
            lost.kill()
            lost.spawn()
        answers[-1].release_all()
        transcript = reader.result(30)
    assert (transcript.answer(), transcript.end(), resets(transcript)) == (TEXT, "stop", 0)
    paid = upstream.responses[0].generated if in_background else sum(request.sent for request in upstream.requests)
    assert paid == len(TOKENS)


@with_settings(REATTACH)
def test_a_worker_that_is_told_to_stop_hands_its_response_over(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """Seen red with the response cancelled when its stream is closed."""
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
def test_the_demo_goes_on_where_it_was(stack: Stack, visitor: Visitor) -> None:
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
def test_the_demo_has_thought_once_whenever_it_was_lost(stack: Stack, visitor: Visitor, dies_in: str) -> None:
    """In the middle of a thought it begins anew and says so; later, the thought stands and the text goes on."""
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
    assert (answer.reasoning, answer.text, answer.end) == (demo_thought(asked), demo_answer(asked), "stop")
    assert resets(transcript) == (1 if dies_in == "reasoning" else 0)
    assert transcript.messages == visitor.read(session_id, Transcript(session_id)).messages


@with_settings(REATTACH)
def test_stopping_a_turn_cancels_its_response_within_a_second(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """Seen red with the upstream's cancellation taken out of a stop: the response was written on."""
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
    wait_until(lambda: response.status == "cancelled", description="the provider stopped writing", timeout=1)
    answer.release_all()
    assert text_in_log(visitor, session_id) == "".join(TOKENS[:BEFORE])
    assert response.generated == BEFORE


@with_settings(RESPONSES | FAIL, RESPONSES | RESTART)
def test_a_response_that_nobody_goes_on_with_is_cancelled(stack: Stack, visitor: Visitor, upstream: Upstream) -> None:
    """It would be written on and paid for. Seen red with the cancellation at a claim taken out."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    with reading(visitor, session_id) as reader:
        reader.result(30)
    assert upstream.responses[0].status == "cancelled"
    assert upstream.responses[0].generated == BEFORE


@with_settings(RESPONSES)
def test_a_turn_that_is_stopped_while_no_worker_has_it_cancels_its_response(
    stack: Stack, visitor: Visitor, upstream: Upstream
) -> None:
    """Seen red with the cancellation at a claim taken out."""
    session_id = killed_in_mid_answer(stack, visitor, gated(upstream))
    assert visitor.http.post(f"/sessions/{session_id}/stop", json={}).json()["reason"] == "stopped"
    (response,) = upstream.responses
    wait_until(lambda: response.status == "cancelled", description="the provider stopped writing")
    assert response.generated == BEFORE
