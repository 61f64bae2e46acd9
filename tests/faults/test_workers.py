"""Workers that die, stall, drain and start late: the reader ends with exactly the text of the attempt that finished."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.conftest import running
from tests.faults.watching import (
    holder,
    is_claimable,
    kinds,
    log_of,
    redis_of,
    take_until,
    wait_for_another,
)
from tests.support.client import Transcript, Visitor
from tests.support.keys import KEYS
from tests.support.processes import Stack, WorkerChild
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

# The lease of these stacks, and the longest time after it until another worker claims, on a busy machine too.
LEASE_SECONDS = 2
CLAIM_SECONDS = 3
DRAIN_SECONDS = 2
# The longest time until a worker closes a model call that it no longer needs.
CANCEL_SECONDS = 5
FIRST = ["One ", "mind ", "begins", ", ", "断线", "😀", " and ", "is ", "gone", "."]
SECOND = ["Another ", "mind ", "says ", "something ", "else", "。"]


@pytest.fixture
def stack_settings() -> dict[str, str]:
    return {"MIDSENTENCE_LEASE_SECONDS": str(LEASE_SECONDS)}


@pytest.fixture
def pair(tmp_path: Path, upstream: Upstream, stack_settings: dict[str, str]) -> Generator[Stack]:
    """A stack with two workers, for this test alone."""
    yield from running(Stack(tmp_path, upstream, workers=2, settings=stack_settings))


@pytest.fixture
def visitor_of_pair(pair: Stack) -> Generator[Visitor]:
    with Visitor(pair.base_url) as client:
        yield client


def test_a_killed_workers_turn_is_taken_over_within_its_lease(pair: Stack, visitor_of_pair: Visitor) -> None:
    """The reader keeps one connection, and ends with the second attempt's text alone."""
    visitor = visitor_of_pair
    first, second = Answer(FIRST, gate=True), Answer(SECOND)
    pair.upstream.answers += [first, second]
    session_id = visitor.start("Is anybody there?")
    transcript = Transcript(session_id)
    with visitor.events(session_id) as events:
        first.release(5)
        take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:5]))
        holder(pair, session_id).kill()
        killed = time.monotonic()
        take_until(transcript, events, lambda: transcript.events[-1].type == "reset")
        assert time.monotonic() - killed < LEASE_SECONDS + CLAIM_SECONDS
        assert transcript.answer() == ""
        assert transcript.events[-1].json["attempt"] == 2
        for event in events:
            transcript.take(event)
    assert kinds(transcript)[-3:] == ["start", "delta", "end"]
    assert (transcript.answer(), transcript.end(), transcript.snapshots) == ("".join(SECOND), "stop", 1)
    assert visitor.read(session_id).answer() == "".join(SECOND)
    assert len(pair.upstream.requests) == 2


def test_a_reader_who_missed_the_takeover_gets_reset_and_new_text(stack: Stack, visitor: Visitor) -> None:
    """A cursor in the dead attempt is still honoured: reset, start and the new text follow it."""
    first, second = Answer(FIRST, gate=True), Answer(SECOND)
    stack.upstream.answers += [first, second]
    session_id = visitor.start("Is anybody there?")
    transcript = Transcript(session_id)
    with visitor.events(session_id) as events:
        first.release(4)
        take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:4]))
    stack.workers[0].kill()
    stack.workers[0].start()
    wait_until(
        lambda: visitor.http.get(f"/sessions/{session_id}").json()["state"] == "idle", description="the turn has ended"
    )
    visitor.read(session_id, transcript)
    assert kinds(transcript)[-4:] == ["reset", "start", "delta", "end"]
    assert (transcript.answer(), transcript.end(), transcript.snapshots) == ("".join(SECOND), "stop", 1)


def test_a_worker_paused_beyond_its_lease_writes_nothing_more(pair: Stack, visitor_of_pair: Visitor) -> None:
    """It wakes with unread tokens, is fenced, and closes its model call."""
    visitor = visitor_of_pair
    first, second = Answer(FIRST, gate=True), Answer(SECOND, gate=True)
    pair.upstream.answers += [first, second]
    session_id = visitor.start("Is anybody there?")
    transcript = Transcript(session_id)
    with visitor.events(session_id) as events:
        first.release(3)
        take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:3]))
        sleeper = holder(pair, session_id)
        sleeper.pause()
        first.release(3)
        wait_until(lambda: pair.upstream.requests[0].sent == 6, description="tokens wait in the paused worker's socket")
        wait_for_another(pair, session_id, sleeper)
        second.release_all()
        for event in events:
            transcript.take(event)
    assert (transcript.answer(), transcript.end()) == ("".join(SECOND), "stop")
    before = log_of(pair, session_id)
    sleeper.resume()
    wait_until(
        lambda: pair.upstream.requests[0].disconnected,
        description="the paused worker closed its model call",
        timeout=CANCEL_SECONDS,
    )
    wait_until(lambda: "turn_lost" in sleeper.log, description="the paused worker knows that it lost the turn")
    assert log_of(pair, session_id) == before
    assert sleeper.is_running
    assert visitor.read(session_id).answer() == "".join(SECOND)


@pytest.mark.parametrize("unread", ["tokens", "the end"])
def test_a_paused_worker_writes_nothing_into_the_next_attempt(
    pair: Stack, visitor_of_pair: Visitor, unread: str
) -> None:
    """It wakes with unread tokens, or with the whole answer, while another worker writes the turn.

    The end is fenced like any write: otherwise it would be kept, and the other attempt's text be lost.
    """
    visitor = visitor_of_pair
    first, second = Answer(FIRST, gate=True), Answer(SECOND, gate=True)
    pair.upstream.answers += [first, second]
    session_id = visitor.start("Is anybody there?")
    transcript = Transcript(session_id)
    with visitor.events(session_id) as events:
        first.release(3)
        take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:3]))
        sleeper, request = holder(pair, session_id), pair.upstream.requests[0]
        sleeper.pause()
        if unread == "tokens":
            first.release(3)
        else:
            first.release_all()
            wait_until(lambda: request.finished, description="an answer waits in the paused worker's socket")
        wait_for_another(pair, session_id, sleeper)
        second.release(2)
        take_until(transcript, events, lambda: transcript.answer() == "".join(SECOND[:2]))
        before = log_of(pair, session_id)
        sleeper.resume()
        if unread == "tokens":
            wait_until(
                lambda: request.disconnected,
                description="the paused worker closed its model call",
                timeout=CANCEL_SECONDS,
            )
        wait_until(lambda: "turn_lost" in sleeper.log, description="the paused worker knows that it lost the turn")
        assert log_of(pair, session_id) == before
        assert visitor.http.get(f"/sessions/{session_id}").json()["state"] == "streaming"
        second.release_all()
        for event in events:
            transcript.take(event)
    assert kinds(transcript).count("reset") == 1
    assert (transcript.answer(), transcript.end()) == ("".join(SECOND), "stop")
    assert visitor.read(session_id).answer() == "".join(SECOND)


class TestAlone:
    @pytest.fixture
    def stack_settings(self) -> dict[str, str]:
        return {"MIDSENTENCE_LEASE_SECONDS": "2"}

    def test_a_worker_paused_beyond_its_lease_keeps_a_turn_that_nobody_took_over(
        self, stack: Stack, visitor: Visitor
    ) -> None:
        """It renews its lease before it claims: otherwise it would take its own turn over, and pay for it twice."""
        answer = Answer(FIRST, gate=True)
        stack.upstream.answers.append(answer)
        session_id = visitor.start("Is anybody there?")
        transcript = Transcript(session_id)
        (worker,) = stack.workers
        with visitor.events(session_id) as events:
            answer.release(3)
            take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:3]))
            worker.pause()
            answer.release_all()
            wait_until(lambda: is_claimable(stack, session_id), description="the lease of the turn has expired")
            worker.resume()
            for event in events:
                transcript.take(event)
        assert "reset" not in kinds(transcript)
        assert (transcript.answer(), transcript.end()) == ("".join(FIRST), "stop")
        assert len(stack.upstream.requests) == 1


class TestAttempts:
    @pytest.fixture
    def stack_settings(self) -> dict[str, str]:
        return {"MIDSENTENCE_MAX_ATTEMPTS": "2", "MIDSENTENCE_LEASE_SECONDS": "1"}

    def test_a_turn_that_kills_its_workers_ends_with_an_error(self, stack: Stack, visitor: Visitor) -> None:
        """Both allowed attempts lose their worker; the third claim ends the turn. The next message is answered."""
        gates = [Answer(FIRST, gate=True), Answer(SECOND, gate=True)]
        stack.upstream.answers += gates
        session_id = visitor.start("Is anybody there?")
        transcript = Transcript(session_id)
        with visitor.events(session_id) as events:
            for gate, tokens in zip(gates, (FIRST, SECOND), strict=True):
                gate.release(2)
                take_until(transcript, events, lambda tokens=tokens: transcript.answer() == "".join(tokens[:2]))
                stack.workers[0].kill()
                stack.workers[0].start()
            for event in events:
                transcript.take(event)
        end = next(event for event in transcript.events if event.type == "end").json
        assert (end["reason"], end["error"]["code"], end["error"]["retryable"]) == ("error", "attempts_exhausted", True)
        assert transcript.end() == "error"
        assert len(stack.upstream.requests) == 2
        visitor.send(session_id, "And now?")
        visitor.read(session_id, transcript)
        assert transcript.end(2) == "stop"


def test_a_draining_worker_finishes_an_answer_that_ends_in_time(stack: Stack, visitor: Visitor) -> None:
    """SIGTERM: the answer is not cut, the model is asked once, the worker exits with 0 and claims no new turn."""
    answer = Answer(FIRST, gate=True)
    stack.upstream.answers.append(answer)
    session_id = visitor.start("Is anybody there?")
    transcript = Transcript(session_id)
    worker = stack.workers[0]
    with visitor.events(session_id) as events:
        answer.release(3)
        take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:3]))
        worker.process.terminate()
        wait_until(lambda: '"draining"' in worker.log, description="the worker drains")
        waiting = visitor.start("Too late?")
        answer.release_all()
        for event in events:
            transcript.take(event)
    assert worker.process.wait(DRAIN_SECONDS + 3) == 0
    assert (transcript.answer(), transcript.end()) == ("".join(FIRST), "stop")
    assert "reset" not in kinds(transcript)
    assert visitor.http.get(f"/sessions/{waiting}").json()["state"] == "queued"
    assert len(stack.upstream.requests) == 1


class TestHandOver:
    @pytest.fixture
    def stack_settings(self) -> dict[str, str]:
        # So long that a claim which waited for its end would fail the test.
        return {"MIDSENTENCE_LEASE_SECONDS": "30"}

    def test_a_draining_worker_hands_over_a_longer_answer(self, pair: Stack, visitor_of_pair: Visitor) -> None:
        """The other worker begins at once, not after the lease, and the attempt is not counted."""
        visitor = visitor_of_pair
        first, second = Answer(FIRST, gate=True), Answer(SECOND)
        pair.upstream.answers += [first, second]
        session_id = visitor.start("Is anybody there?")
        transcript = Transcript(session_id)
        with visitor.events(session_id) as events:
            first.release(3)
            take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:3]))
            leaving = holder(pair, session_id)
            leaving.process.terminate()
            stopped = time.monotonic()
            take_until(transcript, events, lambda: transcript.events[-1].type == "reset")
            assert DRAIN_SECONDS - 0.5 < time.monotonic() - stopped < DRAIN_SECONDS + CLAIM_SECONDS
            for event in events:
                transcript.take(event)
        assert leaving.process.wait(5) == 0
        assert (transcript.answer(), transcript.end(), transcript.snapshots) == ("".join(SECOND), "stop", 1)
        start = [event.json for event in transcript.events if event.type == "start"][-1]
        assert start["attempt"] == 2
        with redis_of(pair) as redis:
            assert redis.hget(KEYS.session(session_id).meta, "attempt") == b"1"
        assert pair.upstream.requests[0].disconnected, "the first model call must be cancelled"


@pytest.fixture
def without_worker(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    """A stack without a worker."""
    yield from running(Stack(tmp_path, upstream, workers=0))


def test_a_reader_who_attaches_before_any_worker_gets_every_token(without_worker: Stack, tmp_path: Path) -> None:
    """The headers come at once; the events come when a worker starts."""
    without_worker.upstream.answers.append(Answer(FIRST))
    with Visitor(without_worker.base_url) as visitor:
        session_id = visitor.start("Is anybody there?")
        transcript = Transcript(session_id)
        asked = time.monotonic()
        with visitor.events(session_id) as events:
            take_until(transcript, events, lambda: transcript.state)
            assert time.monotonic() - asked < 3
            assert transcript.state["state"] == "queued"
            assert transcript.answer() == ""
            without_worker.workers.append(WorkerChild(tmp_path, without_worker.environment))
            without_worker.workers[0].start()
            for event in events:
                transcript.take(event)
    assert (transcript.answer(), transcript.end(), transcript.snapshots) == ("".join(FIRST), "stop", 1)
    assert kinds(transcript) == ["snapshot", "start", "delta", "end"]


def test_a_worker_started_without_redis_waits_and_then_works(tmp_path: Path, upstream: Upstream) -> None:
    """It logs what it waits for, stays alive, and needs no restart."""
    stack = Stack(tmp_path, upstream)
    (worker,) = stack.workers
    try:
        worker.spawn()
        wait_until(lambda: "waiting_for_redis" in worker.log, description="the worker says what it waits for")
        assert worker.is_running
        stack.redis.start()
        stack.servers[0].start()
        with Visitor(stack.base_url) as visitor:
            assert visitor.read(visitor.start("tokens=3")).end() == "stop"
    finally:
        stack.stop()


def test_deleting_a_session_cancels_its_model_call(stack: Stack, visitor: Visitor) -> None:
    """Section 9: even where the worker had nothing to append."""
    answer = Answer(FIRST, gate=True)
    stack.upstream.answers.append(answer)
    session_id = visitor.start("Is anybody there?")
    answer.release(1)
    transcript = Transcript(session_id)
    with visitor.events(session_id) as events:
        take_until(transcript, events, lambda: transcript.answer() == FIRST[0])
    assert visitor.http.delete(f"/sessions/{session_id}").status_code == 204
    (request,) = stack.upstream.requests
    wait_until(lambda: request.disconnected, description="the worker closed its model call", timeout=CANCEL_SECONDS)
    assert log_of(stack, session_id) == []
