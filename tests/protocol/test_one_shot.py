"""Section 10: GET /push, a question and its answer on one connection."""

from dataclasses import dataclass

import pytest

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, MEDIUM, SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import SentEvent, Visitor, lines_of, parse

END = "[END]"


@dataclass
class OneShot:
    """What an EventSource does with /push: keep the last id, and reconnect with it until a 204."""

    visitor: Visitor
    question: str
    pieces: str = ""
    last_id: str = ""
    events: int = 0
    over: bool = False
    connections: int = 0

    def connect(self, *, limit: int | None = None, base_url: str = "") -> int:
        """Read one connection to its end, or until `limit` events were dispatched. Returns its status."""
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        self.connections += 1
        taken = 0
        params = {"param": self.question}
        with self.visitor.http.stream("GET", f"{base_url}/push", params=params, headers=headers) as response:
            assert response.status_code in {200, 204}, response.read()
            for event in parse(lines_of(response.iter_raw())):
                self._take(event)
                taken += event.type != ""
                if taken == limit:
                    break
            return response.status_code

    def _take(self, event: SentEvent) -> None:
        assert event.type in {"", "message"}, event
        assert not self.over, f"after {END}: {event}"
        self.last_id = event.id or self.last_id
        if event.type == "message":
            self.events += 1
            self.over = event.data == END
            self.pieces += "" if self.over else event.data

    @property
    def session_id(self) -> str:
        return self.last_id.partition("/")[0]


@pytest.fixture
def owner(visitor: Visitor) -> Visitor:
    """A visitor with a cookie, so that the native routes can read the answer."""
    visitor.http.get("/")
    return visitor


def test_an_answer_is_sent_as_unnamed_events_and_an_end(owner: Visitor) -> None:
    """10.1: unnamed events with bare text; the last one is [END]; then the connection closes."""
    shot = OneShot(owner, MEDIUM)
    assert shot.connect() == 200
    assert shot.over
    assert shot.events > 5
    assert shot.pieces == lines_as_lf(answer(owner, shot.session_id))


def test_the_stream_allows_every_origin(anonymous: Visitor) -> None:
    """8.1, 10.4: the headers of a stream, and the one that lets a page of another origin read it."""
    with anonymous.http.stream("GET", "/push", params={"param": SHORT}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers
        assert next(response.iter_raw()).startswith(b":")


def test_a_chinese_answer_arrives_unchanged(owner: Visitor) -> None:
    """10.1: the question of the tutorial."""
    shot = OneShot(owner, "你好，请写 30 字")
    shot.connect()
    assert shot.over
    assert shot.pieces == lines_as_lf(answer(owner, shot.session_id))


def test_every_event_has_an_id_that_names_the_answer(owner: Visitor) -> None:
    """10.2: the first bytes too: a reader who is cut before the first token must not ask again."""
    with owner.http.stream("GET", "/push", params={"param": MEDIUM}) as response:
        events = list(parse(lines_of(response.iter_raw())))
    assert all(event.id for event in events)
    assert len({str(event.id).partition("/")[0] for event in events}) == 1
    assert events[0].type == "", "the id must come before any text"
    assert len({event.id for event in events}) == len(events), "each id must name one event"


@pytest.mark.parametrize("every", [1, 2, 3, 7, 20])
def test_a_cut_after_every_kth_event_loses_no_text(owner: Visitor, deployment: Deployment, every: int) -> None:
    """10.2: the same answer goes on, on whichever server, and nothing is asked twice."""
    shot = OneShot(owner, MEDIUM)
    names: set[str] = set()
    for number in range(300):
        if shot.over:
            break
        shot.connect(limit=every, base_url=(deployment.base_url, deployment.elsewhere)[number % 2])
        names.add(shot.session_id)
    assert shot.over
    assert names == {shot.session_id}, "a reconnect was answered with another answer"
    assert shot.connections > 1
    assert shot.pieces == lines_as_lf(answer(owner, shot.session_id))
    asked = owner.http.get(f"/sessions/{shot.session_id}").json()["messages"]
    assert [entry["role"] for entry in asked] == ["user", "assistant"]


def test_a_cut_before_the_first_token_starts_no_second_answer(owner: Visitor) -> None:
    """10.2: the id that precedes the text is enough to resume."""
    shot = OneShot(owner, MEDIUM)
    with owner.http.stream("GET", "/push", params={"param": MEDIUM}) as response:
        first = next(parse(lines_of(response.iter_raw())))
    assert first.id is not None
    shot.last_id = first.id
    before = shot.session_id
    shot.connect()
    assert (shot.session_id, shot.over) == (before, True)
    assert shot.pieces == lines_as_lf(answer(owner, before))


def test_a_reconnect_after_the_end_is_answered_204(owner: Visitor) -> None:
    """10.2: 204 stops an EventSource, however often it reconnects, with or without the question."""
    shot = OneShot(owner, SHORT)
    shot.connect()
    assert shot.over
    assert [shot.connect() for _ in range(3)] == [204] * 3
    response = owner.http.get("/push", headers={"Last-Event-ID": shot.last_id})
    assert (response.status_code, response.content) == (204, b""), "without the question"
    assert response.headers["access-control-allow-origin"] == "*"


UNKNOWN = {
    "a word": b"x",
    "a native id": b"1.1-1",
    "of no session": b"00AAAAAAAAAAAAAAAAAAAAAA/1.1-1",
    "no event id": b"00AAAAAAAAAAAAAAAAAAAAAA",
    "an empty event id": b"00AAAAAAAAAAAAAAAAAAAAAA/",
    "only an event id": b"/1.1-1",
    "several": b"00AAAAAAAAAAAAAAAAAAAAAA/1.1-1/2",
    "a partition beyond this deployment": b"ffAAAAAAAAAAAAAAAAAAAAAA/1.1-1",
    "long": b"x" * 30_000,
    "not ASCII": "会话/1.1-1".encode(),
    "not UTF-8": b"\xff/\xfe",
    "a plus sign": b"+",
}


@pytest.mark.parametrize("name", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_an_unknown_id_is_answered_204(anonymous: Visitor, name: bytes) -> None:
    """10.2: 204 whatever the question beside it, never another answer."""
    headers = {b"Last-Event-ID": name}
    response = anonymous.http.get("/push", params={"param": SHORT}, headers=headers)
    assert (response.status_code, response.content) == (204, b"")


def test_an_id_opens_its_answer_without_a_cookie(owner: Visitor, anonymous: Visitor) -> None:
    """10.4: a page of another origin sends no cookie; the id is the capability."""
    shot = OneShot(owner, MEDIUM)
    shot.connect(limit=3)
    theirs = OneShot(anonymous, MEDIUM, pieces=shot.pieces, last_id=shot.last_id)
    theirs.connect()
    assert theirs.over
    assert theirs.pieces == lines_as_lf(answer(owner, shot.session_id))
    assert anonymous.http.get(f"/sessions/{shot.session_id}").status_code == 404, "the id opens nothing else"


def test_an_event_id_of_a_chat_opens_nothing(visitor: Visitor, anonymous: Visitor) -> None:
    """10.4: not even to its owner, since this route lets pages of every origin read."""
    session_id = visitor.start(LONG)
    with visitor.events(session_id) as events:
        event_id = next(event for event in events if event.type == "delta").id
    for client in (visitor, anonymous):
        response = client.http.get("/push", headers={"Last-Event-ID": f"{session_id}/{event_id}"})
        assert (response.status_code, response.content) == (204, b"")
    visitor.http.delete(f"/sessions/{session_id}")


@pytest.mark.parametrize("query", ["", "?param=", "?param=%20%0A", "?Param=x", "?q=x"])
def test_a_missing_question_is_refused(anonymous: Visitor, query: str) -> None:
    """2.1: 400 missing_param, readable by the page that made the mistake."""
    response = anonymous.http.get(f"/push{query}")
    assert_refused(response, 400, "missing_param")
    assert response.headers["access-control-allow-origin"] == "*"


def test_head_is_refused(owner: Visitor) -> None:
    """10.6: a link checker must not cost a model's answer."""
    response = owner.http.head("/push", params={"param": SHORT})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET"


def test_an_accept_that_excludes_event_streams_is_refused(anonymous: Visitor) -> None:
    """8.10: before the model is asked."""
    response = anonymous.http.get("/push", params={"param": SHORT}, headers={"Accept": "application/json"})
    assert_refused(response, 406, "not_acceptable")


def test_a_one_shot_session_accepts_no_further_message(owner: Visitor) -> None:
    """10.4: its id opens that one answer, so no other may be added to the session."""
    shot = OneShot(owner, SHORT)
    shot.connect()
    response = owner.http.post(f"/sessions/{shot.session_id}/messages", json={"text": SHORT})
    assert_refused(response, 404, "not_found")


def answer(visitor: Visitor, session_id: str) -> str:
    messages = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    (text,) = [entry["text"] for entry in messages if entry["role"] == "assistant"]
    assert text
    return text


def lines_as_lf(text: str) -> str:
    """An event stream keeps line ends, but not which characters they were (HTML standard, 9.2.6)."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
