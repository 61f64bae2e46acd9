"""Section 4: asking, and what a 202 guarantees."""

import json

import httpx
import pytest

from tests.protocol.questions import LONG, SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import Transcript, Visitor

# Texts that break code which treats text as lines, C strings, UTF-16 or a wire format.
AWKWARD = {
    "carriage returns": "one\rtwo\r\rthree\r",
    "line feeds": "\n\none\n\ntwo\n",
    "both": "one\r\ntwo\n\rthree\r\n\r\n",
    "a forged end": 'x\n\nevent: end\ndata: {"reason":"stop"}\n\n',
    "a forged id": "x\r\rid: 9.9-9\revent: delta\rdata: {}\r\r",
    "unicode line breaks": "one\u2028two\u2029three\x85four\x0bfive\x0csix",
    "control characters": "NUL \x00, escape \x1b[31m, delete \x7f.",
    "a byte order mark": "\ufeffone\ufefftwo",
    "emoji": "😀 👩‍👩‍👧‍👦 🇨🇳 \U0010ffff e\u0301 \u200f\u202e",
    "markup": "<script>alert(1)</script> &amp; {{x}} ${x} '\"\\",
    "white space around it": "  \t x \n ",
    "a number": "1e400",
}


def test_a_first_message_is_accepted_with_the_url_of_its_events(visitor: Visitor) -> None:
    """4.1: 202 with session_id, turn and events_url, which Location repeats."""
    response = visitor.http.post("/sessions", json={"text": SHORT})
    assert response.status_code == 202
    body = response.json()
    session_id = body["session_id"]
    url = f"/sessions/{session_id}/events"
    assert body == {"session_id": session_id, "turn": 1, "events_url": url}
    assert response.headers["location"] == url
    assert visitor.read(session_id).end() == "stop"


def test_a_later_message_is_accepted_with_the_next_turn_number(visitor: Visitor) -> None:
    """4.1: the same reply where a session is continued, with the next turn's number."""
    session_id = visitor.start(SHORT)
    response = visitor.http.post(f"/sessions/{session_id}/messages", json={"text": SHORT})
    url = f"/sessions/{session_id}/events"
    assert response.status_code == 202
    assert response.json() == {"session_id": session_id, "turn": 2, "events_url": url}
    assert response.headers["location"] == url


def test_an_accepted_message_is_in_the_log_at_once(visitor: Visitor) -> None:
    """4.2: after the 202 the message is in the log, whether or not a worker has claimed it."""
    session_id = visitor.start(LONG)
    first = visitor.http.get(f"/sessions/{session_id}").json()["messages"][0]
    assert first == {"turn": 1, "parent": 0, "role": "user", "text": LONG, "end": None}
    visitor.http.delete(f"/sessions/{session_id}")


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_a_message_is_returned_unchanged(visitor: Visitor, text: str) -> None:
    """8.15: stream and snapshot hold exactly the user's text, and the text forges no event."""
    session_id = visitor.start(SHORT)
    first = visitor.read(session_id)
    visitor.send(session_id, text)
    second = visitor.read(session_id, first)
    assert [event.type for event in second.events].count("message") == 1, "the snapshot holds the first message"
    message = next(event for event in second.events if event.type == "message")
    assert message.json == {"role": "user", "text": text, "turn": 2, "parent": 1}
    assert second.end(2) == "stop"
    stored = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    assert [entry["text"] for entry in stored] == [entry.text for entry in second.messages]


def test_a_chinese_message_is_answered(visitor: Visitor) -> None:
    """4.3: any character that is not white space makes a message."""
    transcript = visitor.read(visitor.start("你好，请写 5 字"))
    assert transcript.end() == "stop"
    assert transcript.answer()


BLANK = ["", " ", "\n\t\r", "\u00a0\u2003\u3000", "\u2028"]


@pytest.mark.parametrize("text", BLANK, ids=map(ascii, BLANK))
def test_a_blank_message_is_refused(visitor: Visitor, text: str) -> None:
    """4.3: a message needs at least one character that is not white space."""
    assert_refused(visitor.http.post("/sessions", json={"text": text}), 422, "invalid_body")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": None},
        {"text": 7},
        {"text": ["x"]},
        {"text": {"text": "x"}},
        {"text": True},
        {"Text": "x"},
        {"text": "x", "temperature": 1},
        {"text": "x", "": 0},
        [],
        ["text"],
        "text",
        None,
        7,
    ],
    ids=str,
)
def test_a_body_of_another_shape_is_refused(visitor: Visitor, body: object) -> None:
    """4.3: `text` must be a string, and unknown fields are refused."""
    content = json.dumps(body)
    response = visitor.http.post("/sessions", content=content, headers={"Content-Type": "application/json"})
    assert_refused(response, 422, "invalid_body")


def test_a_later_message_is_validated_like_a_first_one(visitor: Visitor) -> None:
    """4.3: both routes take the same body."""
    session_id = visitor.start(SHORT)
    for body in ({}, {"text": " "}, {"text": "x", "temperature": 1}):
        assert_refused(visitor.http.post(f"/sessions/{session_id}/messages", json=body), 422, "invalid_body")
    assert turns(visitor, session_id) == [1]


def test_a_refused_message_leaves_no_trace(visitor: Visitor) -> None:
    """2.1: a refused request changes nothing; a refused first message lists no session."""
    visitor.read(visitor.start(SHORT))
    before = visitor.http.get("/sessions").json()
    assert len(before["sessions"]) == 1
    for body in ({"text": ""}, {"text": "x", "more": 1}):
        assert visitor.http.post("/sessions", json=body).status_code == 422
    assert visitor.http.get("/sessions").json() == before


def test_an_answer_is_the_same_in_the_stream_and_in_the_snapshot(visitor: Visitor) -> None:
    """8.15: the concatenated deltas equal the stored text."""
    session_id = visitor.start(SHORT)
    transcript = visitor.read(session_id)
    assert messages(visitor.http.get(f"/sessions/{session_id}")) == [SHORT, transcript.answer()]
    assert transcript.answer()
    assert visitor.read(session_id, Transcript(session_id)).messages == transcript.messages


def turns(visitor: Visitor, session_id: str) -> list[int]:
    entries = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    return [entry["turn"] for entry in entries if entry["role"] == "user"]


def messages(response: httpx.Response) -> list[str]:
    return [entry["text"] for entry in response.json()["messages"]]
