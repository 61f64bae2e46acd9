"""Stopping, and what a message does while a turn runs (rule 4.5, section 5)."""

import time

import httpx
import pytest

from tests.support.client import Transcript, Visitor
from tests.support.waiting import wait_until

SLOW = "Please write 400 words. tokens=400 rate=20 seed=4"
SHORT = "Please write 5 words. tokens=5 rate=100 seed=5"


@pytest.fixture
def running(visitor: Visitor) -> Transcript:
    """A session in mid-answer, and what its reader has so far."""
    transcript = Transcript(visitor.start(SLOW))
    with visitor.events(transcript.session_id, until_end=False) as events:
        for event in events:
            transcript.take(event)
            if len(transcript.answer()) > 5:
                break
    return transcript


def stop(visitor: Visitor, session_id: str, **body: object) -> httpx.Response:
    return visitor.http.post(f"/sessions/{session_id}/stop", json=body)


def test_a_stop_returns_the_end_in_the_log(visitor: Visitor, running: Transcript) -> None:
    """5.1, 5.2: the partial text and its usage are kept."""
    response = stop(visitor, running.session_id)
    assert response.status_code == 200
    assert response.json() == {"session_id": running.session_id, "turn": 1, "reason": "stopped"}
    before = running.answer()
    visitor.read(running.session_id, running)
    assert running.end() == "stopped"
    assert running.answer().startswith(before)
    (end,) = [event.json for event in running.events if event.type == "end"]
    assert end["usage"]["output_tokens"] > 0
    assert end["error"] is None


def test_a_stop_needs_no_body(visitor: Visitor, running: Transcript) -> None:
    """Section 5."""
    response = visitor.http.post(f"/sessions/{running.session_id}/stop")
    assert (response.status_code, response.json()["reason"]) == (200, "stopped")


def test_a_repeated_stop_changes_nothing(visitor: Visitor, running: Transcript) -> None:
    """5.4."""
    answers = [stop(visitor, running.session_id, turn=1).json() for _ in range(3)]
    assert answers == [answers[0]] * 3
    visitor.read(running.session_id, running)
    assert [event.type for event in running.events].count("end") == 1


def test_a_stop_after_the_end_returns_that_end(visitor: Visitor) -> None:
    """5.4."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    assert stop(visitor, session_id).json()["reason"] == "stop"


def test_a_queued_turn_is_stopped_at_once_and_keeps_its_number(visitor: Visitor, running: Transcript) -> None:
    """5.3."""
    session_id = running.session_id
    waiting = visitor.send(session_id, SHORT)
    last = visitor.send(session_id, SHORT)
    assert stop(visitor, session_id, turn=waiting).json() == {
        "session_id": session_id,
        "turn": waiting,
        "reason": "stopped",
    }
    stop(visitor, session_id, turn=1)
    transcript = visitor.read(session_id)
    assert [transcript.end(turn) for turn in (1, waiting, last)] == ["stopped", "stopped", "stop"]
    assert transcript.answer(waiting) == ""


def test_on_busy_reject_refuses_a_message_and_leaves_no_trace(visitor: Visitor, running: Transcript) -> None:
    """4.5."""
    response = visitor.http.post(f"/sessions/{running.session_id}/messages", json={"text": SHORT, "on_busy": "reject"})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "busy")
    stop(visitor, running.session_id)
    assert visitor.send(running.session_id, SHORT) == 2


def test_an_interrupting_message_is_answered_next(visitor: Visitor, running: Transcript) -> None:
    """4.5: the running turn and all queued ones are stopped."""
    visitor.send(running.session_id, SHORT)
    began = time.monotonic()
    response = visitor.http.post(
        f"/sessions/{running.session_id}/messages", json={"text": SHORT, "on_busy": "interrupt"}
    )
    assert (response.status_code, response.json()["turn"]) == (202, 3)
    transcript = visitor.read(running.session_id)
    assert [transcript.end(turn) for turn in (1, 2, 3)] == ["stopped", "stopped", "stop"]
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"turn": 7}, 404, "no_such_turn"),
        ({"turn": 0}, 422, "invalid_body"),
        ({"turn": "1"}, 422, "invalid_body"),
        ({"turns": 1}, 422, "invalid_body"),
        ([], 422, "invalid_body"),
    ],
)
def test_an_invalid_stop_is_refused(visitor: Visitor, body: object, status: int, code: str) -> None:
    """Rule 2.1, section 5."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    response = visitor.http.post(f"/sessions/{session_id}/stop", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_a_stranger_stops_nothing(visitor: Visitor, running: Transcript) -> None:
    """2.2: and the reply reveals nothing."""
    with Visitor(str(visitor.http.base_url)) as stranger:
        stranger.start(SHORT)
        refused = stop(stranger, running.session_id)
        assert refused.content == stop(stranger, "00" + "A" * 22).content
    assert refused.status_code == 404
    seen = len(running.answer())
    with visitor.events(running.session_id, running.cursor, until_end=False) as events:
        for event in events:
            running.take(event)
            if len(running.answer()) > seen:
                break


def test_an_unknown_on_busy_is_refused(visitor: Visitor) -> None:
    """4.3, 4.5."""
    session_id = visitor.start(SHORT)
    response = visitor.http.post(f"/sessions/{session_id}/messages", json={"text": "x", "on_busy": "panic"})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_body")
    wait_until(
        lambda: visitor.http.get(f"/sessions/{session_id}").json()["state"] == "idle", description="the turn ended"
    )
