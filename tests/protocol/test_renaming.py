"""Section 6: the title that an owner gives a session."""

import json
import time

import httpx
import pytest

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, SHORT
from tests.protocol.refused import assert_refused, code_of
from tests.support.client import Visitor


def rename(visitor: Visitor, session_id: str, title: object, **headers: str) -> httpx.Response:
    return visitor.http.patch(f"/sessions/{session_id}", json={"title": title}, headers=headers)


def titles(visitor: Visitor) -> list[str]:
    return [session["title"] for session in visitor.http.get("/sessions").json()["sessions"]]


def test_the_owner_renames_a_session(visitor: Visitor) -> None:
    """6.1, 6.2: the reply and the list show the title; the conversation does not change."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    before = visitor.http.get(f"/sessions/{session_id}").json()
    response = rename(visitor, session_id, "On streams")
    assert (response.status_code, response.json()) == (200, {"session_id": session_id, "title": "On streams"})
    assert response.headers["cache-control"] == "no-store"
    assert titles(visitor) == ["On streams"]
    assert visitor.http.get(f"/sessions/{session_id}").json() == before


def test_every_reader_receives_a_new_title(visitor: Visitor, deployment: Deployment) -> None:
    """6.2, 8.5: at once and on every server, in mid-answer too."""
    session_id = visitor.start(LONG)
    with (
        visitor.events(session_id, until_end=False) as here,
        visitor.events(session_id, until_end=False, base_url=deployment.elsewhere) as there,
    ):
        for events in (here, there):
            next(event for event in events if event.type == "state")
        rename(visitor, session_id, "另一个标题")
        for events in (here, there):
            state = next(event for event in events if event.type == "state" and event.json["title"] == "另一个标题")
            assert set(state.json) == {"state", "turn", "queued", "title", "model"}
    visitor.http.delete(f"/sessions/{session_id}")


def test_a_reader_of_an_idle_session_receives_a_new_title(visitor: Visitor) -> None:
    """6.2: by an announcement, not by the server's next poll."""
    session_id = visitor.start(SHORT)
    cursor = visitor.read(session_id).cursor
    with visitor.events(session_id, cursor, until_end=False) as events:
        assert next(event for event in events if event.type == "state").json["title"] == SHORT
        asked = time.monotonic()
        rename(visitor, session_id, "Renamed")
        assert next(event for event in events if event.type == "state").json["title"] == "Renamed"
        assert time.monotonic() - asked < 10


def test_a_given_title_outlasts_later_messages(visitor: Visitor) -> None:
    """6.2: only another rename changes it again."""
    session_id = visitor.start(SHORT)
    rename(visitor, session_id, "Mine")
    visitor.send(session_id, SHORT + " And another title?")
    assert visitor.read(session_id).state["title"] == "Mine"
    assert titles(visitor) == ["Mine"]
    rename(visitor, session_id, "Mine still")
    assert titles(visitor) == ["Mine still"]


STORED = {
    "spaces": ("  a \t\n b  ", "a b"),
    "unicode spaces": ("\u3000标题\u2003\u2028二\u00a0", "标题 二"),
    "one character": ("x", "x"),
    "the longest": ("长" * 200, "长" * 200),
    "the longest in white space": (" " * 300 + "x" * 200 + "\n" * 300, "x" * 200),
    "markup": ("<b>&\"'\\\x00\U0001f600", "<b>&\"'\\\x00\U0001f600"),
}


@pytest.mark.parametrize(("given", "stored"), STORED.values(), ids=STORED.keys())
def test_white_space_in_a_title_is_collapsed(visitor: Visitor, given: str, stored: str) -> None:
    """6.1: each run is one space, and the rest has 1 to 200 characters."""
    session_id = visitor.start(SHORT)
    response = rename(visitor, session_id, given)
    assert (response.status_code, response.json()["title"]) == (200, stored)
    assert titles(visitor) == [stored]


@pytest.mark.parametrize("title", ["", " \n\t\u3000", "x" * 201, "x " * 101, None, 7, ["x"], {"title": "x"}], ids=ascii)
def test_an_invalid_title_is_refused(visitor: Visitor, title: object) -> None:
    """6.1, 2.1: 422, and the title stays."""
    session_id = visitor.start(SHORT)
    assert_refused(rename(visitor, session_id, title), 422, "invalid_body")
    assert titles(visitor) == [SHORT]


def test_a_refused_title_names_the_broken_rule(visitor: Visitor) -> None:
    """2.1: the message distinguishes an empty title from a long one."""
    session_id = visitor.start(SHORT)
    empty, long = (rename(visitor, session_id, title).json()["error"]["message"] for title in (" ", "x" * 201))
    assert "say something" in empty
    assert "200" in long
    assert "201" in long


@pytest.mark.parametrize("body", [{}, {"title": "x", "text": "y"}, {"Title": "x"}, [], None], ids=str)
def test_a_rename_with_wrong_fields_is_refused(visitor: Visitor, body: object) -> None:
    """6.1: unknown fields are refused."""
    session_id = visitor.start(SHORT)
    headers = {"Content-Type": "application/json"}
    response = visitor.http.patch(f"/sessions/{session_id}", content=json.dumps(body), headers=headers)
    assert_refused(response, 422, "invalid_body")


def test_a_rename_that_is_not_json_is_refused(visitor: Visitor) -> None:
    """2.1: 415 and 400 as for a message."""
    url = f"/sessions/{visitor.start(SHORT)}"
    for headers in ({}, {"Content-Type": "text/plain"}):
        assert_refused(
            visitor.http.patch(url, content=b'{"title":"x"}', headers=headers), 415, "unsupported_media_type"
        )
    for content in (b"", b"{", rb'{"title": "\ud83d"}'):
        response = visitor.http.patch(url, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code in {400, 422}
        assert code_of(response.content, response.headers) in {"invalid_json", "invalid_body"}


def test_a_rename_by_a_stranger_or_of_a_deleted_session_is_refused(visitor: Visitor, stranger: Visitor) -> None:
    """Rule 2.2, section 6: and a deleted session is not created again."""
    session_id = visitor.start(SHORT)
    assert_refused(rename(stranger, session_id, "Theirs"), 404, "not_found")
    assert titles(visitor) == [SHORT]
    visitor.http.delete(f"/sessions/{session_id}")
    assert_refused(rename(visitor, session_id, "Back"), 404, "not_found")
    assert titles(visitor) == []
