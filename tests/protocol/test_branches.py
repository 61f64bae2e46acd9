"""Rules 4.6 and 4.7: a message may follow any turn, and the model answers the path to it."""

import re

import httpx
import pytest

from tests.protocol.questions import HOW_MANY, LONG, SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import Transcript, Visitor


def ask(visitor: Visitor, session_id: str, text: str, parent: object, **more: object) -> httpx.Response:
    body = {"text": text, "parent": parent, **more}
    return visitor.http.post(f"/sessions/{session_id}/messages", json=body)


def parents(transcript: Transcript) -> list[tuple[int, int, str]]:
    return [(entry.turn, entry.parent, entry.role) for entry in transcript.messages]


def test_a_message_follows_its_named_parent(visitor: Visitor) -> None:
    """4.6: in the event, in the answer's entry and in the snapshot; an edit is a new turn with the old parent."""
    session_id = visitor.start(SHORT)
    visitor.send(session_id, SHORT)
    watching = visitor.read(session_id)
    response = ask(visitor, session_id, SHORT + " Otherwise.", 1)
    assert (response.status_code, response.json()["turn"]) == (202, 3)
    assert ask(visitor, session_id, SHORT, 0).json()["turn"] == 4
    visitor.read(session_id, watching)
    sent = [event.json for event in watching.events if event.type == "message"]
    assert [(message["turn"], message["parent"]) for message in sent][-2:] == [(3, 1), (4, 0)]
    expected = [(turn, parent, role) for turn, parent in ((1, 0), (2, 1), (3, 1), (4, 0)) for role in ROLES]
    assert parents(watching) == expected
    assert parents(visitor.read(session_id, Transcript(session_id))) == expected
    assert [watching.end(turn) for turn in (1, 2, 3, 4)] == ["stop"] * 4


def test_a_message_without_parent_follows_the_turn_before(visitor: Visitor) -> None:
    """4.6: the turn before it in number, whatever its branch; `null` names no parent."""
    session_id = visitor.start(SHORT)
    ask(visitor, session_id, SHORT, 0)
    visitor.send(session_id, SHORT)
    ask(visitor, session_id, SHORT, None)
    assert parents(visitor.read(session_id))[::2] == [(1, 0, "user"), (2, 0, "user"), (3, 2, "user"), (4, 3, "user")]


def test_a_new_branch_changes_no_earlier_answer(visitor: Visitor) -> None:
    """4.6: both answers to a question that was asked twice stay."""
    session_id = visitor.start(SHORT)
    first = visitor.read(session_id).answer()
    ask(visitor, session_id, SHORT, 0)
    transcript = visitor.read(session_id)
    assert [transcript.answer(turn) for turn in (1, 2)] == [first, first]
    assert [entry.text for entry in transcript.messages if entry.role == "user"] == [SHORT, SHORT]


def test_a_message_may_follow_a_queued_message(visitor: Visitor) -> None:
    """4.6: a queued message has its number already, and keeps its parent while it waits."""
    session_id = visitor.start(LONG)
    assert [ask(visitor, session_id, SHORT, parent).json()["turn"] for parent in (0, 2, 1)] == [2, 3, 4]
    visitor.http.post(f"/sessions/{session_id}/stop", json={"turn": 3})
    visitor.http.post(f"/sessions/{session_id}/stop", json={"turn": 1})
    transcript = visitor.read(session_id)
    assert parents(transcript) == [
        (turn, parent, role) for turn, parent in ((1, 0), (2, 0), (3, 2), (4, 1)) for role in ROLES
    ]
    assert [transcript.end(turn) for turn in (1, 2, 3, 4)] == ["stopped", "stop", "stopped", "stop"]


@pytest.mark.parametrize("how", ["queue", "interrupt"])
def test_a_busy_session_accepts_a_branch(visitor: Visitor, how: str) -> None:
    """4.5, 4.6."""
    session_id = visitor.start(LONG)
    assert ask(visitor, session_id, SHORT, 0, on_busy=how).status_code == 202
    if how == "queue":
        visitor.http.post(f"/sessions/{session_id}/stop", json={"turn": 1})
    transcript = visitor.read(session_id)
    assert parents(transcript)[2:] == [(2, 0, "user"), (2, 0, "assistant")]
    assert [transcript.end(turn) for turn in (1, 2)] == ["stopped", "stop"]


@pytest.mark.parametrize("parent", [3, 4, 99, 10**12, 10**30])
def test_an_unknown_parent_is_refused(visitor: Visitor, parent: int) -> None:
    """4.6: 404 no_such_turn, also for the number that the message itself would get; no number is used up."""
    session_id = visitor.start(LONG)
    assert visitor.send(session_id, SHORT) == 2
    for how in ("queue", "reject", "interrupt"):
        assert_refused(ask(visitor, session_id, SHORT, parent, on_busy=how), 404, "no_such_turn")
    assert visitor.send(session_id, SHORT) == 3
    assert visitor.http.get(f"/sessions/{session_id}").json()["state"] != "idle", "a refused message must not interrupt"
    visitor.http.delete(f"/sessions/{session_id}")


@pytest.mark.parametrize("parent", [-1, 1.0, "1", True, [1], {}])
def test_an_invalid_parent_is_refused(visitor: Visitor, parent: object) -> None:
    """4.6, 2.1."""
    session_id = visitor.start(SHORT)
    assert_refused(ask(visitor, session_id, SHORT, parent), 422, "invalid_body")


def test_a_first_message_takes_no_parent(visitor: Visitor) -> None:
    """4.6, 4.3: `POST /sessions` does not know the field."""
    assert_refused(visitor.http.post("/sessions", json={"text": SHORT, "parent": 0}), 422, "invalid_body")


def test_a_key_with_another_parent_is_refused(visitor: Visitor) -> None:
    """4.4, 4.6: the same parent gets the same reply; another parent, or none, is refused."""
    session_id = visitor.start(SHORT)
    url, headers = f"/sessions/{session_id}/messages", {"Idempotency-Key": "k"}
    body = {"text": SHORT, "parent": 0}
    replies = [visitor.http.post(url, json=body, headers=headers) for _ in range(2)]
    assert [(reply.status_code, reply.json()["turn"]) for reply in replies] == [(202, 2), (202, 2)]
    for other in ({"text": SHORT, "parent": 1}, {"text": SHORT, "parent": 9}, {"text": SHORT}):
        assert_refused(visitor.http.post(url, json=other, headers=headers), 422, "idempotency_mismatch")
    assert visitor.send(session_id, SHORT) == 3


def test_the_model_receives_only_the_path(visitor: Visitor) -> None:
    """4.7: messages of other branches are not sent."""
    session_id = visitor.start(HOW_MANY)
    for parent in (0, 1, 1, 3, 0):
        ask(visitor, session_id, HOW_MANY, parent)
    transcript = visitor.read(session_id)
    assert [received(transcript, turn) for turn in range(1, 7)] == [1, 1, 3, 3, 5, 1]


ROLES = ("user", "assistant")


def received(transcript: Transcript, turn: int) -> int:
    found = re.search(r"sent (\d+) message", transcript.answer(turn))
    assert found is not None, transcript.answer(turn)
    return int(found[1])
