"""Rule 4.4: the same key gets the same answer, and the model is asked once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.protocol.questions import LONG, SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import Visitor

OTHER = SHORT + " Otherwise."


def test_a_repeated_first_message_gets_the_same_reply(visitor: Visitor, stranger: Visitor) -> None:
    """4.4: the same 202, one session, one turn, one answer."""
    visitor.http.cookies = stranger.http.cookies
    first = visitor.http.post("/sessions", json={"text": SHORT}, headers={"Idempotency-Key": "k"})
    session_id = first.json()["session_id"]
    during = visitor.http.post("/sessions", json={"text": SHORT}, headers={"Idempotency-Key": "k"})
    transcript = visitor.read(session_id)
    after = visitor.http.post("/sessions", json={"text": SHORT}, headers={"Idempotency-Key": "k"})
    for again in (during, after):
        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["location"] == first.headers["location"]
    snapshot = visitor.http.get(f"/sessions/{session_id}").json()
    assert snapshot["state"] == "idle", "the model must not be asked again"
    assert [(entry["turn"], entry["text"]) for entry in snapshot["messages"]] == [(1, SHORT), (1, transcript.answer())]
    assert [listed["session_id"] for listed in visitor.http.get("/sessions").json()["sessions"]] == [session_id]


def test_a_repeated_later_message_gets_the_same_reply(visitor: Visitor) -> None:
    """4.4: the same turn, and the next message gets the number after it."""
    session_id = visitor.start(SHORT)
    url = f"/sessions/{session_id}/messages"
    replies = [visitor.http.post(url, json={"text": SHORT}, headers={"Idempotency-Key": "k"}) for _ in range(3)]
    assert {reply.status_code for reply in replies} == {202}
    assert [reply.json()["turn"] for reply in replies] == [2, 2, 2]
    assert visitor.send(session_id, SHORT) == 3
    visitor.read(session_id)
    users = [
        entry for entry in visitor.http.get(f"/sessions/{session_id}").json()["messages"] if entry["role"] == "user"
    ]
    assert [entry["turn"] for entry in users] == [1, 2, 3]


def test_a_key_with_another_body_is_refused(visitor: Visitor, stranger: Visitor) -> None:
    """4.4: 422 idempotency_mismatch, for a first and for a later message; the stored message stays."""
    visitor.http.cookies = stranger.http.cookies
    session_id = visitor.start(SHORT, **{"Idempotency-Key": "k"})
    response = visitor.http.post("/sessions", json={"text": OTHER}, headers={"Idempotency-Key": "k"})
    assert_refused(response, 422, "idempotency_mismatch")
    visitor.send(session_id, SHORT, **{"Idempotency-Key": "l"})
    url = f"/sessions/{session_id}/messages"
    response = visitor.http.post(url, json={"text": OTHER}, headers={"Idempotency-Key": "l"})
    assert_refused(response, 422, "idempotency_mismatch")
    visitor.read(session_id)
    messages = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    assert [entry["text"] for entry in messages if entry["role"] == "user"] == [SHORT, SHORT]


def test_a_key_of_another_owner_is_another_key(visitor: Visitor, stranger: Visitor) -> None:
    """4.4: keys are scoped to the owner, so another owner's key opens no session and refuses no body."""
    mine = visitor.start(SHORT, **{"Idempotency-Key": "shared"})
    theirs = stranger.start(SHORT, **{"Idempotency-Key": "shared"})
    assert mine != theirs
    assert stranger.http.get(f"/sessions/{mine}").status_code == 404


def test_a_repeated_message_without_a_key_is_a_new_message(visitor: Visitor) -> None:
    """4.4: only a key makes a repeated request idempotent."""
    assert visitor.start(SHORT) != visitor.start(SHORT)
    session_id = visitor.start(SHORT)
    assert [visitor.send(session_id, SHORT), visitor.send(session_id, SHORT)] == [2, 3]


@pytest.mark.parametrize("key", ["x", "in ner sp ace", "~" * 255, "9f1c{}[]*?:\n".strip(), '"quoted"'], ids=ascii)
def test_a_printable_key_is_accepted(visitor: Visitor, key: str) -> None:
    """2.1: 1 to 255 printable ASCII characters, whatever they mean to a database."""
    visitor.http.get("/")
    first = visitor.start(SHORT, **{"Idempotency-Key": key})
    assert visitor.start(SHORT, **{"Idempotency-Key": key}) == first
    assert visitor.send(first, SHORT, **{"Idempotency-Key": key + "2"} if len(key) < 255 else {}) == 2


@pytest.mark.parametrize("key", [b"", b"~" * 256, b"~" * 5000, "ключ".encode(), b"a\tb", b"\xff"], ids=repr)
def test_an_invalid_key_is_refused(visitor: Visitor, key: bytes) -> None:
    """2.1: 400 invalid_idempotency_key on both routes, and nothing is started."""
    visitor.http.get("/")
    headers = {b"Idempotency-Key": key}
    response = visitor.http.post("/sessions", json={"text": SHORT}, headers=headers)
    assert_refused(response, 400, "invalid_idempotency_key")
    assert visitor.http.get("/sessions").json() == {"sessions": []}
    session_id = visitor.start(SHORT)
    response = visitor.http.post(f"/sessions/{session_id}/messages", json={"text": SHORT}, headers=headers)
    assert_refused(response, 400, "invalid_idempotency_key")


def test_a_burst_of_the_same_request_starts_one_session(visitor: Visitor, stranger: Visitor) -> None:
    """4.4: eight at once, as from a proxy that retries: one session, one turn."""
    visitor.http.cookies = stranger.http.cookies
    barrier = Barrier(8)

    def post(_: int) -> tuple[int, object]:
        barrier.wait()
        response = visitor.http.post("/sessions", json={"text": LONG}, headers={"Idempotency-Key": "burst"})
        return response.status_code, response.json()

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(post, range(8)))
    status, body = replies[0]
    assert status == 202
    assert replies == [(status, body)] * 8
    (listed,) = visitor.http.get("/sessions").json()["sessions"]
    session_id = listed["session_id"]
    snapshot = visitor.http.get(f"/sessions/{session_id}").json()
    assert [entry["turn"] for entry in snapshot["messages"] if entry["role"] == "user"] == [1]
    with visitor.events(session_id, until_end=False) as events:
        state = next(event for event in events if event.type == "state")
    assert state.json["queued"] == [], "none of the repeats may be queued"
    visitor.http.delete(f"/sessions/{session_id}")


def test_a_burst_of_the_same_message_adds_one_turn(visitor: Visitor) -> None:
    """4.4: the same in a session whose turn runs: one message is queued."""
    session_id = visitor.start(LONG)
    barrier = Barrier(8)

    def post(_: int) -> tuple[int, int]:
        barrier.wait()
        response = visitor.http.post(
            f"/sessions/{session_id}/messages", json={"text": SHORT}, headers={"Idempotency-Key": "burst"}
        )
        return response.status_code, response.json()["turn"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(post, range(8))) == [(202, 2)] * 8
    with visitor.events(session_id, until_end=False) as events:
        state = next(event for event in events if event.type == "state")
    assert state.json["queued"] == [{"key": "burst", "text": SHORT}]
    visitor.http.delete(f"/sessions/{session_id}")
