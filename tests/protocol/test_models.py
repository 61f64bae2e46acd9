"""Rule 4.9 and GET /models: which models there are, and which one answers."""

import re
from typing import Any

import httpx
import pytest

from tests.protocol.questions import LONG, SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import Transcript, Visitor

UNKNOWN = "no-such-model"


@pytest.fixture
def names(visitor: Visitor) -> list[str]:
    return [model["name"] for model in visitor.http.get("/models").json()["models"]]


@pytest.fixture
def last(names: list[str]) -> str:
    """A model that is not the default, unless there is only one."""
    return names[-1]


def start(visitor: Visitor, model: object, text: str = SHORT, **headers: str) -> httpx.Response:
    return visitor.http.post("/sessions", json={"text": text, "model": model}, headers=headers)


def send(visitor: Visitor, session_id: str, model: object, **more: object) -> httpx.Response:
    return visitor.http.post(f"/sessions/{session_id}/messages", json={"text": SHORT, "model": model, **more})


def of_type(transcript: Transcript, kind: str) -> list[Any]:
    return [event.json for event in transcript.events if event.type == kind]


def test_every_visitor_may_ask_for_the_models(anonymous: Visitor) -> None:
    """9: in the server's order, the first is the default; names alone, and no cookie."""
    response = anonymous.http.get("/models")
    models = response.json()["models"]
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    assert [model["default"] for model in models] == [True] + [False] * (len(models) - 1)
    assert all(set(model) == {"name", "default"} for model in models)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,127}", model["name"]) for model in models)
    assert "set-cookie" not in response.headers


def test_models_take_no_other_method(visitor: Visitor) -> None:
    """2.1: 405 with Allow."""
    response = visitor.http.post("/models", json={})
    assert_refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"


def test_named_model_answers(visitor: Visitor, last: str) -> None:
    """4.9: in `message`, in `start`, in `state`, and with the user's message in the snapshot."""
    session_id = start(visitor, last).json()["session_id"]
    transcript = visitor.read(session_id)
    send(visitor, session_id, last)
    visitor.read(session_id, transcript)
    assert of_type(transcript, "message")[-1] == {
        "role": "user",
        "text": SHORT,
        "turn": 2,
        "parent": 1,
        "model": last,
    }
    assert {event["model"] for event in of_type(transcript, "start")} == {last}
    assert transcript.state["model"] == last
    stored = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    assert [message.get("model") for message in stored] == [last, None, last, None]


def test_default_model_answers_where_none_is_named(visitor: Visitor, names: list[str], last: str) -> None:
    """4.9: without `model`, or with null; also after a message that named another."""
    session_id = start(visitor, last).json()["session_id"]
    assert send(visitor, session_id, None).status_code == 202
    visitor.send(session_id, SHORT)
    transcript = visitor.read(session_id)
    assert [event["model"] for event in of_type(transcript, "start")][-2:] == [names[0]] * 2
    assert all("model" not in event for event in of_type(transcript, "message"))
    assert transcript.state["model"] == names[0]


def test_a_queued_message_keeps_its_model(visitor: Visitor, last: str) -> None:
    """4.9: it enters the log with its name when its turn begins."""
    session_id = visitor.start(SHORT)
    send(visitor, session_id, last)
    send(visitor, session_id, None)
    send(visitor, session_id, last, parent=0)
    transcript = visitor.read(session_id)
    sent = {event["turn"]: event.get("model") for event in of_type(transcript, "message")}
    assert {turn: sent[turn] for turn in (2, 3, 4)} == {2: last, 3: None, 4: last}
    assert [message["parent"] for message in of_type(transcript, "message")][-1] == 0


def test_a_message_that_interrupts_keeps_its_model(visitor: Visitor, last: str) -> None:
    """4.5, 4.9: also those that it stops, which no model answers."""
    session_id = visitor.start(LONG)
    send(visitor, session_id, last)
    assert send(visitor, session_id, last, on_busy="interrupt").status_code == 202
    transcript = visitor.read(session_id)
    assert [transcript.end(turn) for turn in (1, 2, 3)] == ["stopped", "stopped", "stop"]
    asked = [entry for entry in transcript.messages if entry.role == "user"]
    assert [entry.model for entry in asked][1:] == [last, last]
    assert transcript.state["model"] == last


@pytest.mark.parametrize("name", [UNKNOWN, "", " ", "x" * 10_000, 'a"b', "модель", "\u0000"])
def test_an_unknown_model_is_refused(visitor: Visitor, names: list[str], name: str) -> None:
    """4.9: 422 unknown_model, for a first and for a later message; the refusal lists the names."""
    response = start(visitor, name)
    assert_refused(response, 422, "unknown_model")
    assert all(known in response.json()["error"]["message"] for known in names)
    session_id = visitor.start(SHORT)
    assert_refused(send(visitor, session_id, name), 422, "unknown_model")
    visitor.read(session_id)
    assert {entry["turn"] for entry in visitor.http.get(f"/sessions/{session_id}").json()["messages"]} == {1}


@pytest.mark.parametrize("value", [5, True, ["scripted"], {"name": "scripted"}], ids=str)
def test_a_model_that_is_no_string_is_refused(visitor: Visitor, value: object) -> None:
    """4.9: 422 invalid_body."""
    assert_refused(start(visitor, value), 422, "invalid_body")
    assert_refused(send(visitor, visitor.start(SHORT), value), 422, "invalid_body")


def test_an_unknown_model_tells_nothing_about_a_strangers_session(visitor: Visitor, stranger: Visitor) -> None:
    """2.2: the session of another owner is answered like one that never existed."""
    session_id = visitor.start(SHORT)
    assert_refused(send(stranger, session_id, UNKNOWN), 404, "not_found")


def test_the_model_is_part_of_what_a_key_names(visitor: Visitor, stranger: Visitor, last: str) -> None:
    """4.4, 4.9: the same key with another model is another body."""
    visitor.http.cookies = stranger.http.cookies
    first = start(visitor, last, **{"Idempotency-Key": "k"})
    again = start(visitor, last, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (202, first.json())
    response = visitor.http.post("/sessions", json={"text": SHORT}, headers={"Idempotency-Key": "k"})
    assert_refused(response, 422, "idempotency_mismatch")


def test_push_takes_a_model(visitor: Visitor, names: list[str]) -> None:
    """10: as 4.9 says; an empty one is none."""
    for model in (names[-1], ""):
        with visitor.http.stream("GET", "/push", params={"param": SHORT, "model": model}) as response:
            assert response.status_code == 200
            assert "[END]" in response.read().decode()
    assert_refused(visitor.http.get("/push", params={"param": SHORT, "model": UNKNOWN}), 422, "unknown_model")
