"""Section 9: listing, reading and deleting sessions, and the server's health."""

import time

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import Visitor
from tests.support.waiting import wait_until


def test_sessions_are_listed_newest_first(visitor: Visitor) -> None:
    """Section 9: a session that is continued moves to the front."""
    first, second, third = (visitor.start(f"{number}. {SHORT}") for number in range(3))
    assert listed(visitor) == [third, second, first]
    visitor.send(first, SHORT)
    assert listed(visitor) == [first, third, second]


def test_a_listed_session_has_title_state_turn_and_time(visitor: Visitor) -> None:
    """Section 9: title, state, the newest turn, and the time of the last message in milliseconds since 1970."""
    before = int(time.time() * 1000)
    session_id = visitor.start(LONG)
    (session,) = visitor.http.get("/sessions").json()["sessions"]
    assert set(session) == {"session_id", "title", "state", "turn", "updated"}
    assert session["session_id"] == session_id
    assert session["title"]
    assert LONG.startswith(session["title"])
    assert (session["state"] in {"queued", "streaming"}, session["turn"]) == (True, 1)
    assert before - 1000 <= session["updated"] <= int(time.time() * 1000) + 1000
    visitor.http.delete(f"/sessions/{session_id}")
    short = visitor.start(SHORT)
    visitor.read(short)
    (session,) = visitor.http.get("/sessions").json()["sessions"]
    assert (session["session_id"], session["state"], session["turn"]) == (short, "idle", 1)


def test_a_listed_session_counts_no_queued_turn(visitor: Visitor) -> None:
    """Section 9, rule 8.13: `turn` is that of `state.turn`; a queued message is not in the log yet."""
    session_id = visitor.start(LONG)
    visitor.send(session_id, SHORT)
    (session,) = visitor.http.get("/sessions").json()["sessions"]
    assert session["turn"] == 1
    visitor.http.post(f"/sessions/{session_id}/stop", json={"turn": 1})
    visitor.read(session_id)
    (session,) = visitor.http.get("/sessions").json()["sessions"]
    assert (session["turn"], session["state"]) == (2, "idle")


def test_only_the_callers_sessions_are_listed(visitor: Visitor, stranger: Visitor, anonymous: Visitor) -> None:
    """Section 9, rule 3.2: without a cookie the list is empty, and GET /sessions sets no cookie."""
    mine, theirs = visitor.start(SHORT), stranger.start(SHORT)
    assert listed(visitor) == [mine]
    assert listed(stranger) == [theirs]
    response = anonymous.http.get("/sessions")
    assert (response.status_code, response.json()) == (200, {"sessions": []})
    assert "set-cookie" not in response.headers


def test_an_owner_without_sessions_gets_an_empty_list(visitor: Visitor) -> None:
    """Section 9: also again and again, as a page does that was opened for a first question."""
    visitor.http.delete(f"/sessions/{visitor.start(SHORT)}")
    assert [listed(visitor) for _ in range(3)] == [[], [], []]
    session_id = visitor.start(SHORT)
    assert listed(visitor) == [session_id]


def test_a_deleted_session_is_gone_everywhere(visitor: Visitor, deployment: Deployment) -> None:
    """Section 9: 204, then 404 on every server, and no longer listed. A second DELETE gets 404."""
    kept, doomed = visitor.start(SHORT), visitor.start(SHORT)
    response = visitor.http.delete(f"/sessions/{doomed}")
    assert (response.status_code, response.content) == (204, b"")
    for server in (deployment.base_url, deployment.elsewhere):
        assert_refused(visitor.http.get(f"{server}/sessions/{doomed}"), 404, "not_found")
    assert_refused(visitor.http.delete(f"/sessions/{doomed}"), 404, "not_found")
    assert listed(visitor) == [kept]


def test_deleting_ends_the_streams_of_a_running_answer(visitor: Visitor, deployment: Deployment) -> None:
    """Section 9: on every server, without an `end`, since the answer did not finish; a reconnect gets 404."""
    session_id = visitor.start(LONG)
    with (
        visitor.events(session_id, until_end=False) as here,
        visitor.events(session_id, until_end=False, base_url=deployment.elsewhere) as there,
    ):
        for events in (here, there):
            next(event for event in events if event.type == "delta")
        assert visitor.http.delete(f"/sessions/{session_id}").status_code == 204
        asked = time.monotonic()
        for events in (here, there):
            assert "end" not in [event.type for event in events]
        assert time.monotonic() - asked < 3
    response = visitor.http.get(f"/sessions/{session_id}/events")
    assert_refused(response, 404, "not_found")


def test_deleting_ends_the_stream_of_an_idle_session(visitor: Visitor) -> None:
    """Section 9: a second tab that only waits is closed too."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    with visitor.events(session_id, until_end=False) as events:
        assert next(events).type == "snapshot"
        visitor.http.delete(f"/sessions/{session_id}")
        assert {event.type for event in events} <= {"state", "ping"}


def test_a_deleted_answer_does_not_come_back(visitor: Visitor) -> None:
    """Section 9: its worker writes no more, and its queued messages are deleted with it."""
    session_id = visitor.start(LONG)
    visitor.send(session_id, SHORT)
    with visitor.events(session_id, until_end=False) as events:
        next(event for event in events if event.type == "delta")
    visitor.http.delete(f"/sessions/{session_id}")
    # A later answer proves that the workers ran on after the deletion.
    visitor.read(visitor.start(SHORT))
    assert visitor.http.get(f"/sessions/{session_id}").status_code == 404


def test_get_and_head_change_nothing(visitor: Visitor) -> None:
    """Section 9: GET and HEAD are safe; HEAD has GET's headers and no body."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    url = f"/sessions/{session_id}"
    first = visitor.http.get(url)
    by_head = visitor.http.head(url)
    assert (by_head.status_code, by_head.content) == (200, b"")
    assert by_head.headers["content-length"] == str(len(first.content))
    assert visitor.http.get(url).content == first.content
    assert first.headers["cache-control"] == "no-store"


def test_get_returns_the_snapshot_and_its_cursor(visitor: Visitor) -> None:
    """Section 9: the data of `snapshot`, and the cursor."""
    session_id = visitor.start(SHORT)
    transcript = visitor.read(session_id)
    assert visitor.http.get(f"/sessions/{session_id}").json() == {
        "session_id": session_id,
        "state": "idle",
        "messages": [
            {"turn": 1, "parent": 0, "role": "user", "text": SHORT, "end": None},
            {"turn": 1, "parent": 0, "role": "assistant", "text": transcript.answer(), "end": "stop"},
        ],
        "cursor": transcript.cursor,
    }


def test_a_running_server_is_healthy_and_ready(anonymous: Visitor, deployment: Deployment) -> None:
    """Section 9: 200 on both routes, without a cookie."""
    for server in (deployment.base_url, deployment.elsewhere):
        assert anonymous.http.get(f"{server}/healthz").status_code == 200
        wait_until(
            lambda server=server: anonymous.http.get(f"{server}/readyz").status_code == 200,
            description="the server is ready",
        )


def test_the_page_is_served(anonymous: Visitor) -> None:
    """Section 9: GET / is an HTML page."""
    response = anonymous.http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "<html" in response.text.lower()


def listed(visitor: Visitor) -> list[str]:
    response = visitor.http.get("/sessions")
    assert response.status_code == 200
    return [session["session_id"] for session in response.json()["sessions"]]
