"""A stop reaches the model from any server, and survives the worker that should obey it."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.conftest import running
from tests.support.client import Transcript, Visitor
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until


@pytest.fixture
def pair(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    """Two servers and one worker with a short lease, for this test alone."""
    yield from running(Stack(tmp_path, upstream, servers=2, settings={"MIDSENTENCE_LEASE_SECONDS": "2"}))


@pytest.fixture
def long_leases(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    """The same with leases so long that no renewal reports a stop in time: only the wake-up can."""
    yield from running(Stack(tmp_path, upstream, servers=2, settings={"MIDSENTENCE_LEASE_SECONDS": "60"}))


def begun(visitor: Visitor, answer: Answer, pieces: int = 3) -> Transcript:
    """Start a turn, and return once the reader has its first pieces."""
    transcript = Transcript(visitor.start("Is anybody there?"))
    answer.release(pieces)
    with visitor.events(transcript.session_id, until_end=False) as events:
        for event in events:
            transcript.take(event)
            if transcript.answer() == "".join(answer.tokens[:pieces]):
                return transcript
    raise AssertionError("the stream ended before the answer began")


def test_a_stop_on_another_server_cancels_the_model_call_within_a_second(long_leases: Stack) -> None:
    """5.2: by the wake-up alone, since no lease is renewed in that time."""
    pair = long_leases
    answer = Answer(["One ", "two ", "three ", "four "], gate=True)
    pair.upstream.answers.append(answer)
    with Visitor(pair.base_url) as visitor:
        transcript = begun(visitor, answer)
        asked = time.monotonic()
        response = visitor.http.post(f"{pair.servers[1].base_url}/sessions/{transcript.session_id}/stop")
        assert (response.status_code, response.json()["reason"]) == (200, "stopped")
        (request,) = pair.upstream.requests
        wait_until(lambda: request.disconnected, description="the worker closes its connection to the model", timeout=2)
        assert request.disconnected is not None
        assert request.disconnected - asked < 1
        visitor.read(transcript.session_id, transcript)
    assert (transcript.answer(), transcript.end()) == ("One two three ", "stopped")


def test_a_stop_survives_the_worker_that_should_obey_it(pair: Stack) -> None:
    """5.1, 5.2: without a worker the answer is 202; the next worker ends the turn without calling the model."""
    answer = Answer(["One ", "two ", "three ", "four "], gate=True)
    pair.upstream.answers.append(answer)
    with Visitor(pair.base_url) as visitor:
        transcript = begun(visitor, answer)
        pair.workers[0].kill()
        response = visitor.http.post(f"/sessions/{transcript.session_id}/stop")
        assert (response.status_code, response.json()["reason"]) == (202, None)
        pair.workers[0].start()
        visitor.read(transcript.session_id, transcript)
        again = visitor.http.post(f"/sessions/{transcript.session_id}/stop")
    assert (transcript.answer(), transcript.end()) == ("One two three ", "stopped")
    (end,) = [event.json for event in transcript.events if event.type == "end"]
    assert end["usage"]["output_tokens"] > 0, "the partial text and its usage are kept (5.2)"
    assert (again.status_code, again.json()["reason"]) == (200, "stopped")
    assert len(pair.upstream.requests) == 1


def test_a_turn_stopped_before_its_claim_never_calls_the_model(pair: Stack) -> None:
    pair.workers[0].stop()
    with Visitor(pair.base_url) as visitor:
        session_id = visitor.start("Is anybody there?")
        visitor.http.post(f"/sessions/{session_id}/stop", timeout=20)
        pair.workers[0].start()
        transcript = visitor.read(session_id)
    assert (transcript.answer(), transcript.end()) == ("", "stopped")
    assert pair.upstream.requests == []


def test_an_interrupting_message_stops_the_running_answer_and_is_answered(pair: Stack) -> None:
    first, second = Answer(["One ", "two ", "three "], gate=True), Answer(["Something ", "else."])
    pair.upstream.answers += [first, second]
    with Visitor(pair.base_url) as visitor:
        transcript = begun(visitor, first, 2)
        response = visitor.http.post(
            f"/sessions/{transcript.session_id}/messages", json={"text": "And now?", "on_busy": "interrupt"}
        )
        assert response.status_code == 202
        visitor.read(transcript.session_id, transcript)
    assert [transcript.end(turn) for turn in (1, 2)] == ["stopped", "stop"]
    assert [transcript.answer(turn) for turn in (1, 2)] == ["One two ", "Something else."]
    sent = [message["content"] for message in pair.upstream.requests[1].messages]
    assert sent == ["Is anybody there?", "One two ", "And now?"]
