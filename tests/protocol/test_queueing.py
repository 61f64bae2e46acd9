"""Rule 4.5: a message that arrives during an answer waits for its turn."""

from tests.protocol.questions import LONG, MEDIUM, SHORT, SLOW
from tests.protocol.refused import assert_refused
from tests.support.client import Transcript, Visitor

QUEUE_LIMIT = 8


def test_queued_messages_are_answered_in_order(visitor: Visitor) -> None:
    """4.5: the number at once, the position in `state`, the turn after the end of the one before."""
    session_id = visitor.start(SLOW)
    assert visitor.send(session_id, "And 5 words more? tokens=5 seed=2", **{"Idempotency-Key": "mine"}) == 2
    assert visitor.send(session_id, "And 6 words more? tokens=6 seed=4") == 3
    transcript = visitor.read(session_id)
    first_state = next(event for event in transcript.events if event.type == "state").json
    assert first_state["turn"] == 1
    assert first_state["queued"] == [
        {"key": "mine", "text": "And 5 words more? tokens=5 seed=2"},
        {"key": None, "text": "And 6 words more? tokens=6 seed=4"},
    ]
    kinds = [event.type for event in transcript.events if event.type in {"message", "end"}]
    assert kinds == ["end", "message", "end", "message", "end"], "each turn must begin after the end of the one before"
    assert [(entry.turn, entry.role) for entry in transcript.messages] == [
        (turn, role) for turn in (1, 2, 3) for role in ("user", "assistant")
    ]
    assert [transcript.end(turn) for turn in (1, 2, 3)] == ["stop"] * 3
    assert transcript.state["queued"] == []


def test_state_shows_a_queued_message_at_once(visitor: Visitor) -> None:
    """8.5: `state` is sent again when the queue changes, in mid-answer too."""
    session_id = visitor.start(LONG)
    with visitor.events(session_id, until_end=False) as events:
        before = next(event for event in events if event.type == "state").json
        assert before["queued"] == []
        visitor.send(session_id, SHORT, **{"Idempotency-Key": "k"})
        after = next(event for event in events if event.type == "state" and event.json["queued"]).json
    assert after["queued"] == [{"key": "k", "text": SHORT}]
    assert (after["turn"], after["title"]) == (1, before["title"]), "the running turn is still the newest"
    visitor.http.delete(f"/sessions/{session_id}")


def test_a_queued_message_is_not_in_the_snapshot(visitor: Visitor) -> None:
    """4.5: a message enters the log when its turn begins; until then the snapshot holds one turn."""
    session_id = visitor.start(LONG)
    visitor.send(session_id, SHORT)
    snapshot = visitor.http.get(f"/sessions/{session_id}").json()
    assert {entry["turn"] for entry in snapshot["messages"]} == {1}
    visitor.http.delete(f"/sessions/{session_id}")


def test_a_full_queue_refuses_with_retry_after(visitor: Visitor) -> None:
    """2.1: 429 queue_full with Retry-After; a repeat of a queued message is not one too many."""
    session_id = visitor.start(LONG)
    turns = [visitor.send(session_id, SHORT, **{"Idempotency-Key": str(number)}) for number in range(QUEUE_LIMIT)]
    assert turns == list(range(2, QUEUE_LIMIT + 2))
    response = visitor.http.post(f"/sessions/{session_id}/messages", json={"text": SHORT})
    assert_refused(response, 429, "queue_full")
    assert int(response.headers["retry-after"]) > 0
    assert visitor.send(session_id, SHORT, **{"Idempotency-Key": "0"}) == 2
    visitor.http.delete(f"/sessions/{session_id}")


def test_a_refused_message_uses_no_turn_number(visitor: Visitor) -> None:
    """4.5: accepted messages are numbered 1, 2, 3… without a gap."""
    session_id = visitor.start(SHORT)
    visitor.send(session_id, SHORT, **{"Idempotency-Key": "k"})
    url = f"/sessions/{session_id}/messages"
    refused = visitor.http.post(url, json={"text": MEDIUM}, headers={"Idempotency-Key": "k"})
    assert_refused(refused, 422, "idempotency_mismatch")
    assert visitor.send(session_id, SHORT) == 3
    transcript = visitor.read(session_id, Transcript(session_id))
    assert [entry.turn for entry in transcript.messages if entry.role == "user"] == [1, 2, 3]
