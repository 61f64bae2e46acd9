"""Section 9: listing, looking at and deleting sessions, and whether the server lives."""

import time

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import Visitor
from tests.support.waiting import wait_until


def test_my_sessions_are_listed_newest_first(visitor: Visitor) -> None:
    """6: a session that is continued comes to the front."""
    first, second, third = (visitor.start(f"{number}. {SHORT}") for number in range(3))
    assert listed(visitor) == [third, second, first]
    visitor.say(first, SHORT)
    assert listed(visitor) == [first, third, second]


def test_the_list_says_what_a_person_looks_for(visitor: Visitor) -> None:
    """6: title, state, the newest turn, and the time of the last message in milliseconds since 1970."""
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


def test_the_list_tells_the_newest_turn_in_the_log(visitor: Visitor) -> None:
    """Section 9, rule 8.13: the same as `state.turn`; a message that waits is not in the log yet."""
    session_id = visitor.start(LONG)
    visitor.say(session_id, SHORT)
    (session,) = visitor.http.get("/sessions").json()["sessions"]
    assert session["turn"] == 1
    visitor.http.post(f"/sessions/{session_id}/stop", json={"turn": 1})
    visitor.read(session_id)
    (session,) = visitor.http.get("/sessions").json()["sessions"]
    assert (session["turn"], session["state"]) == (2, "idle")


def test_nobody_elses_sessions_are_listed(visitor: Visitor, stranger: Visitor, nobody: Visitor) -> None:
    """6, 3.2: of the caller alone; to somebody without a cookie, none, and no cookie for looking."""
    mine, theirs = visitor.start(SHORT), stranger.start(SHORT)
    assert listed(visitor) == [mine]
    assert listed(stranger) == [theirs]
    response = nobody.http.get("/sessions")
    assert (response.status_code, response.json()) == (200, {"sessions": []})
    assert "set-cookie" not in response.headers


def test_a_deleted_session_is_gone_everywhere(visitor: Visitor, deployment: Deployment) -> None:
    """6: 204, then 404 on every server, and no longer listed. A second DELETE finds nothing."""
    kept, doomed = visitor.start(SHORT), visitor.start(SHORT)
    response = visitor.http.delete(f"/sessions/{doomed}")
    assert (response.status_code, response.content) == (204, b"")
    for server in (deployment.base_url, deployment.elsewhere):
        assert_refused(visitor.http.get(f"{server}/sessions/{doomed}"), 404, "not_found")
    assert_refused(visitor.http.delete(f"/sessions/{doomed}"), 404, "not_found")
    assert listed(visitor) == [kept]


def test_deleting_ends_the_streams_of_a_running_answer(visitor: Visitor, deployment: Deployment) -> None:
    """6: on every server, without an `end`, since nothing ended well; who reconnects finds nothing."""
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
    """6: another tab that only waits."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    with visitor.events(session_id, until_end=False) as events:
        assert next(events).type == "snapshot"
        visitor.http.delete(f"/sessions/{session_id}")
        assert {event.type for event in events} <= {"state", "ping"}


def test_a_deleted_answer_does_not_come_back(visitor: Visitor) -> None:
    """6: the worker that wrote it writes no more; its messages in the queue are gone with it."""
    session_id = visitor.start(LONG)
    visitor.say(session_id, SHORT)
    with visitor.events(session_id, until_end=False) as events:
        next(event for event in events if event.type == "delta")
    visitor.http.delete(f"/sessions/{session_id}")
    # Whoever is answered now was claimed by a worker that lives after the deletion.
    visitor.read(visitor.start(SHORT))
    assert visitor.http.get(f"/sessions/{session_id}").status_code == 404


def test_looking_at_a_session_changes_nothing(visitor: Visitor) -> None:
    """6: GET and HEAD are safe; HEAD has GET's headers and no body."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    url = f"/sessions/{session_id}"
    first = visitor.http.get(url)
    by_head = visitor.http.head(url)
    assert (by_head.status_code, by_head.content) == (200, b"")
    assert by_head.headers["content-length"] == str(len(first.content))
    assert visitor.http.get(url).content == first.content
    assert first.headers["cache-control"] == "no-store"


def test_a_session_is_shown_as_its_snapshot(visitor: Visitor) -> None:
    """6: the data of `snapshot`, and the cursor."""
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


def test_the_server_says_that_it_lives_and_is_ready(nobody: Visitor, deployment: Deployment) -> None:
    """6: 200 on both, to anybody."""
    for server in (deployment.base_url, deployment.elsewhere):
        assert nobody.http.get(f"{server}/healthz").status_code == 200
        wait_until(
            lambda server=server: nobody.http.get(f"{server}/readyz").status_code == 200,
            description="the server is ready",
        )


def test_the_page_is_served(nobody: Visitor) -> None:
    """6: GET / is a page, and says that it is one."""
    response = nobody.http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "<html" in response.text.lower()


def listed(visitor: Visitor) -> list[str]:
    response = visitor.http.get("/sessions")
    assert response.status_code == 200
    return [session["session_id"] for session in response.json()["sessions"]]
