"""Workers that die, stall, leave and come late: the reader ends with exactly what the attempt that finished wrote."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.conftest import running
from tests.faults.watching import holder, kinds, log_of, take_until, wait_for_another
from tests.support.client import Transcript, Visitor
from tests.support.processes import Stack, WorkerChild
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

# What the tests' stack sets, and how much later than its end somebody looks, on a busy machine too.
LEASE_SECONDS = 2
LOOK_SECONDS = 3
DRAIN_SECONDS = 2
# Within which a worker hangs up on a model that it asks for nothing any more.
HANG_UP_SECONDS = 5
FIRST = ["One ", "mind ", "begins", ", ", "断线", "😀", " and ", "is ", "gone", "."]
SECOND = ["Another ", "mind ", "says ", "something ", "else", "。"]


@pytest.fixture
def pair(tmp_path: Path, upstream: Upstream, stack_settings: dict[str, str]) -> Generator[Stack]:
    """A house with two workers, for this test alone."""
    yield from running(Stack(tmp_path, upstream, workers=2, settings=stack_settings))


@pytest.fixture
def visitor_of_pair(pair: Stack) -> Generator[Visitor]:
    with Visitor(pair.base_url) as somebody:
        yield somebody


def test_a_killed_workers_turn_is_taken_over_within_its_lease(pair: Stack, visitor_of_pair: Visitor) -> None:
    """The reader, on one connection all the while, ends with the second attempt's text and nothing of the first's."""
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
        assert time.monotonic() - killed < LEASE_SECONDS + LOOK_SECONDS
        assert transcript.answer() == ""
        assert transcript.events[-1].json["attempt"] == 2
        for event in events:
            transcript.take(event)
    assert kinds(transcript)[-3:] == ["start", "delta", "end"]
    assert (transcript.answer(), transcript.end(), transcript.snapshots) == ("".join(SECOND), "stop", 1)
    assert visitor.read(session_id).answer() == "".join(SECOND)
    assert len(pair.upstream.requests) == 2


def test_a_reader_who_was_away_during_the_takeover_misses_nothing(stack: Stack, visitor: Visitor) -> None:
    """A cursor into the dead attempt still names its event: reset, start and the new text follow it."""
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


def test_a_worker_that_was_paused_beyond_its_lease_writes_nothing_more(pair: Stack, visitor_of_pair: Visitor) -> None:
    """It wakes with tokens in hand, is fenced, and lets go of its model."""
    visitor = visitor_of_pair
    first, second = Answer(FIRST, gate=True), Answer(SECOND)
    pair.upstream.answers += [first, second]
    session_id = visitor.start("Is anybody there?")
    transcript = Transcript(session_id)
    with visitor.events(session_id) as events:
        first.release(3)
        take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:3]))
        sleeper = holder(pair, session_id)
        sleeper.pause()
        first.release(3)
        wait_until(lambda: pair.upstream.requests[0].sent == 6, description="tokens wait in the sleeper's socket")
        wait_for_another(pair, session_id, sleeper)
        for event in events:
            transcript.take(event)
    assert (transcript.answer(), transcript.end()) == ("".join(SECOND), "stop")
    before = log_of(pair, session_id)
    sleeper.resume()
    wait_until(
        lambda: pair.upstream.requests[0].disconnected,
        description="the sleeper hung up on its model",
        timeout=HANG_UP_SECONDS,
    )
    wait_until(lambda: "turn_lost" in sleeper.log, description="the sleeper knows that it lost the turn")
    assert log_of(pair, session_id) == before
    assert sleeper.is_running
    assert visitor.read(session_id).answer() == "".join(SECOND)


def test_a_paused_worker_that_wakes_into_the_next_attempt_writes_nothing_into_it(
    pair: Stack, visitor_of_pair: Visitor
) -> None:
    """The turn still runs, under another epoch: the sleeper's tokens must not appear among the other's."""
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
        wait_for_another(pair, session_id, sleeper)
        second.release(2)
        take_until(transcript, events, lambda: transcript.answer() == "".join(SECOND[:2]))
        sleeper.resume()
        wait_until(
            lambda: pair.upstream.requests[0].disconnected, description="the sleeper hung up", timeout=HANG_UP_SECONDS
        )
        second.release_all()
        for event in events:
            transcript.take(event)
    assert kinds(transcript).count("reset") == 1
    assert (transcript.answer(), transcript.end()) == ("".join(SECOND), "stop")


def test_a_paused_worker_that_wakes_with_the_whole_answer_does_not_end_the_others_turn(
    pair: Stack, visitor_of_pair: Visitor
) -> None:
    """The last write of a turn is fenced like any other, or its end would be kept and the other's text be lost."""
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
        first.release_all()
        wait_until(lambda: pair.upstream.requests[0].finished, description="an answer waits in the sleeper's socket")
        wait_for_another(pair, session_id, sleeper)
        second.release(2)
        take_until(transcript, events, lambda: transcript.answer() == "".join(SECOND[:2]))
        before = log_of(pair, session_id)
        sleeper.resume()
        wait_until(lambda: "turn_lost" in sleeper.log, description="the sleeper knows that it lost the turn")
        assert log_of(pair, session_id) == before
        assert visitor.http.get(f"/sessions/{session_id}").json()["state"] == "streaming"
        second.release_all()
        for event in events:
            transcript.take(event)
    assert (transcript.answer(), transcript.end()) == ("".join(SECOND), "stop")
    assert visitor.read(session_id).answer() == "".join(SECOND)


class TestAttempts:
    @pytest.fixture
    def stack_settings(self) -> dict[str, str]:
        return {"MIDSENTENCE_MAX_ATTEMPTS": "2", "MIDSENTENCE_LEASE_SECONDS": "1"}

    def test_a_turn_that_kills_its_workers_ends_with_an_error(self, stack: Stack, visitor: Visitor) -> None:
        """Two attempts are allowed and two workers die of them; the third says so. The next message is answered."""
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
        visitor.say(session_id, "And now?")
        visitor.read(session_id, transcript)
        assert transcript.end(2) == "stop"


def test_a_worker_that_is_told_to_stop_finishes_what_ends_within_its_grace(stack: Stack, visitor: Visitor) -> None:
    """SIGTERM: the answer is not cut, nothing is asked twice, the exit is clean, and nothing new is claimed."""
    answer = Answer(FIRST, gate=True)
    stack.upstream.answers.append(answer)
    session_id = visitor.start("Is anybody there?")
    transcript = Transcript(session_id)
    worker = stack.workers[0]
    with visitor.events(session_id) as events:
        answer.release(3)
        take_until(transcript, events, lambda: transcript.answer() == "".join(FIRST[:3]))
        worker.process.terminate()
        wait_until(lambda: '"draining"' in worker.log, description="the worker heard it")
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
        # So long that whoever waited for it would be noticed.
        return {"MIDSENTENCE_LEASE_SECONDS": "30"}

    def test_a_worker_that_is_told_to_stop_hands_over_what_does_not(
        self, pair: Stack, visitor_of_pair: Visitor
    ) -> None:
        """The other worker begins at once, not after the lease; the attempt counts against nobody."""
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
            told = time.monotonic()
            take_until(transcript, events, lambda: transcript.events[-1].type == "reset")
            assert DRAIN_SECONDS - 0.5 < time.monotonic() - told < DRAIN_SECONDS + LOOK_SECONDS
            for event in events:
                transcript.take(event)
        assert leaving.process.wait(5) == 0
        assert (transcript.answer(), transcript.end(), transcript.snapshots) == ("".join(SECOND), "stop", 1)
        start = [event.json for event in transcript.events if event.type == "start"][-1]
        assert start["attempt"] == 1
        assert pair.upstream.requests[0].disconnected, "the first model is paid no longer"


@pytest.fixture
def unstaffed(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    """A house without a worker."""
    yield from running(Stack(tmp_path, upstream, workers=0))


def test_a_viewer_who_comes_before_any_worker_keeps_the_first_token(unstaffed: Stack, tmp_path: Path) -> None:
    """Subscribe, then nothing for a while, then everything; the headers come at once all the same."""
    unstaffed.upstream.answers.append(Answer(FIRST))
    with Visitor(unstaffed.base_url) as visitor:
        session_id = visitor.start("Is anybody there?")
        transcript = Transcript(session_id)
        asked = time.monotonic()
        with visitor.events(session_id) as events:
            take_until(transcript, events, lambda: transcript.state)
            assert time.monotonic() - asked < 3
            assert transcript.state["state"] == "queued"
            assert transcript.answer() == ""
            unstaffed.workers.append(WorkerChild(tmp_path, unstaffed.environment))
            unstaffed.workers[0].start()
            for event in events:
                transcript.take(event)
    assert (transcript.answer(), transcript.end(), transcript.snapshots) == ("".join(FIRST), "stop", 1)
    assert kinds(transcript) == ["snapshot", "start", "delta", "end"]


def test_a_worker_that_is_started_while_redis_is_down_waits_and_then_works(tmp_path: Path, upstream: Upstream) -> None:
    """It says so, does not die of it, and needs nobody when Redis comes."""
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


def test_a_deleted_sessions_model_is_paid_no_longer(stack: Stack, visitor: Visitor) -> None:
    """6: the running turn is abandoned: its worker hangs up, though it had nothing to append."""
    answer = Answer(FIRST, gate=True)
    stack.upstream.answers.append(answer)
    session_id = visitor.start("Is anybody there?")
    answer.release(1)
    with visitor.events(session_id) as events:
        next(event for event in events if event.type == "delta")
    assert visitor.http.delete(f"/sessions/{session_id}").status_code == 204
    (request,) = stack.upstream.requests
    wait_until(lambda: request.disconnected, description="the worker hung up on the model", timeout=HANG_UP_SECONDS)
    assert log_of(stack, session_id) == []
