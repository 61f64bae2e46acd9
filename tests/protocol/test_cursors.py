"""Rules 8.2 to 8.4 and 8.11: where a reader resumes."""

import itertools
from collections.abc import Generator
from urllib.parse import quote_from_bytes

import pytest

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, MEDIUM, SHORT, SLOW
from tests.support.client import SentEvent, Transcript, Visitor, lines_of, parse

# tests/units/test_ids.py tests the parser, `EventId.parse`, by itself; through HTTP these hold that the route answers
# each of them alike.
MALFORMED = {
    "empty": b"",
    "a word": b"x",
    "only a turn": b"1",
    "no seq": b"1.1",
    "no epoch": b"1-1",
    "a Redis id": b"1001-1",
    "the beginning, as Redis writes it": b"0-0",
    "the end, as Redis writes it": b"$",
    "everything, as Redis writes it": b"+",
    "negative": b"-1.0-0",
    "a negative seq": b"1.0--1",
    "a leading zero": b"1.1-01",
    "a sign": b"1.1-+1",
    "white space within": b"1.1 -1",
    "an exponent": b"1.1-1e1",
    "an epoch too many digits long": b"1.10000-1",
    "beyond 64 bits": b"1.1-18446744073709551616",
    "beyond any number": b"9" * 5000 + b".1-1",
    "long": b"x" * 30_000,
    "Arabic digits": "١.١-١".encode(),
    "full-width digits": "１.１-１".encode(),
    "not UTF-8": b"\xff\xfe",
    "of the one-shot interface": b"00AAAAAAAAAAAAAAAAAAAAAA/1.1-1",
    "markup": b"<script>",
    "a list": b"1.1-1, 1.1-2",
    "several": b"1.1-1 1.1-2",
    "zero": b"0.0-0",
}

# The query is decoded before it reaches the same parser: `+` is a space there, and %FF no text.
MALFORMED_IN_QUERY = ("a sign", "not UTF-8", "long")


@pytest.fixture(scope="module")
def owner(deployment: Deployment) -> Generator[Visitor]:
    with Visitor(deployment.base_url) as client:
        yield client


@pytest.fixture(scope="module")
def finished(owner: Visitor) -> str:
    """A session with two finished turns, which the tests only read."""
    session_id = owner.start(SHORT)
    owner.send(session_id, SHORT)
    owner.read(session_id)
    return session_id


@pytest.mark.parametrize("cursor", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_cursor_is_answered_with_one_snapshot(owner: Visitor, finished: str, cursor: bytes) -> None:
    """8.3: never an error, which would stop an EventSource for good, and never silence."""
    assert_one_snapshot(owner, finished, attached(owner, finished, header=cursor))


@pytest.mark.parametrize("name", MALFORMED_IN_QUERY)
def test_a_malformed_query_cursor_is_answered_with_one_snapshot(owner: Visitor, finished: str, name: str) -> None:
    """8.2, 8.3: a cursor in the query is checked like one in the header."""
    assert_one_snapshot(owner, finished, attached(owner, finished, query=MALFORMED[name]))


@pytest.mark.parametrize("cursor", ["1.1-4000", "2.1-4000", "3.0-0", "3.1-1", "999999.1-1"])
def test_a_cursor_ahead_of_the_log_is_answered_with_one_snapshot(owner: Visitor, finished: str, cursor: str) -> None:
    """8.3: a log that lost its tail must not leave readers waiting for events that never come."""
    assert_one_snapshot(owner, finished, attached(owner, finished, header=cursor.encode()))


@pytest.mark.parametrize("cursor", ["1.2-1", "1.0-1", "1.999-2", "2.2-3", "2.1-0"])
def test_a_cursor_of_another_epoch_is_answered_with_one_snapshot(owner: Visitor, finished: str, cursor: str) -> None:
    """1.1, 8.3: the same seq under another epoch is another event, of a lost tail."""
    assert_one_snapshot(owner, finished, attached(owner, finished, header=cursor.encode()))


def test_a_cursor_of_another_session_is_answered_with_one_snapshot(owner: Visitor, finished: str) -> None:
    """8.3: this session's log holds no such entry."""
    other = owner.start(SHORT)
    for _ in range(2):
        owner.send(other, SHORT)
    cursor = owner.read(other).cursor
    assert str(cursor).startswith("3.")
    assert_one_snapshot(owner, finished, attached(owner, finished, header=str(cursor).encode()))


def test_every_id_of_the_log_is_honoured_as_a_cursor(owner: Visitor, finished: str) -> None:
    """8.3: the stream goes on with the event after it, across turns too, and repeats none."""
    everything = logged(attached(owner, finished, header=b"1.0-0"))
    assert len(everything) > 6
    for position, event in enumerate(everything[:-1]):
        assert logged(attached(owner, finished, header=str(event.id).encode())) == everything[position + 1 :]


def test_a_cursor_in_the_query_is_honoured(owner: Visitor, finished: str) -> None:
    """8.2: EventSource cannot set a header for its first request."""
    by_header = attached(owner, finished, header=b"1.0-0")
    assert attached(owner, finished, query=b"1.0-0") == by_header
    assert by_header[0].type == "start"


def test_the_header_wins_over_the_query(owner: Visitor, finished: str) -> None:
    """8.2: EventSource repeats its URL for ever, so its header is newer."""
    everything = logged(attached(owner, finished, header=b"1.0-0"))
    later = str(everything[1].id).encode()
    assert logged(attached(owner, finished, header=later, query=b"1.0-0")) == everything[2:]
    assert logged(attached(owner, finished, header=later, query=b"x")) == everything[2:]
    assert_one_snapshot(owner, finished, attached(owner, finished, header=b"x", query=later))


def test_the_id_of_a_snapshot_is_the_cursor_of_the_events_after_it(visitor: Visitor) -> None:
    """8.4: a reader who leaves in mid-answer, right after the snapshot, misses nothing."""
    session_id = visitor.start(SLOW)
    transcript = Transcript(session_id)
    visitor.read(session_id, transcript, limit=4)
    assert transcript.events[-1].type == "delta"
    fresh = Transcript(session_id)
    visitor.read(session_id, fresh, limit=1)
    assert fresh.events[-1].type == "snapshot"
    visitor.read(session_id, fresh)
    assert fresh.snapshots == 1
    assert fresh.answer() == answer(visitor, session_id)


def test_the_json_snapshot_names_its_cursor(visitor: Visitor) -> None:
    """Section 9: `cursor` beside the snapshot's data: GET the session, then its events from there."""
    session_id = visitor.start(SLOW)
    visitor.read(session_id, limit=3)
    body = visitor.http.get(f"/sessions/{session_id}").json()
    assert set(body) == {"session_id", "state", "messages", "cursor"}
    assert body["state"] == "streaming"
    begun = body["messages"][-1]["text"]
    with visitor.events(session_id, body["cursor"]) as events:
        rest = list(events)
    assert "snapshot" not in {event.type for event in rest}
    assert begun + "".join(event.json["text"] for event in rest if event.type == "delta") == answer(visitor, session_id)
    assert begun


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_cuts_and_reconnects_lose_no_text(visitor: Visitor, deployment: Deployment, every: int) -> None:
    """8.11: whatever the sequence of cuts, on whichever server."""
    session_id = visitor.start(MEDIUM)
    transcript = Transcript(session_id)
    servers = itertools.cycle([deployment.base_url, deployment.elsewhere])
    for _ in range(300):
        if transcript.end():
            break
        visitor.read(session_id, transcript, limit=every, base_url=next(servers))
    assert transcript.end() == "stop"
    assert transcript.snapshots == 1, "a cursor that the log holds was not honoured"
    assert transcript.answer() == answer(visitor, session_id)


def test_a_bad_cursor_in_mid_answer_loses_no_text(visitor: Visitor) -> None:
    """8.3, 8.4: one snapshot, which replaces everything, and then the rest."""
    session_id = visitor.start(MEDIUM)
    transcript = Transcript(session_id)
    visitor.read(session_id, transcript, limit=5)
    transcript.cursor = "1.9-9999"
    visitor.read(session_id, transcript)
    assert transcript.snapshots == 2
    assert transcript.answer() == answer(visitor, session_id)


def test_a_cursor_ahead_of_a_running_answer_is_answered_with_a_snapshot(visitor: Visitor) -> None:
    """8.3: ahead of the log as it is now, though the answer may reach that number later."""
    session_id = visitor.start(LONG)
    events = attached(visitor, session_id, header=b"1.1-899", count=1)
    assert [event.type for event in events] == ["snapshot"]
    visitor.http.delete(f"/sessions/{session_id}")


def attached(
    visitor: Visitor,
    session_id: str,
    *,
    header: bytes | None = None,
    query: bytes | None = None,
    count: int | None = None,
) -> list[SentEvent]:
    """All events that a reader with this cursor receives up to the `state`, or `count` events."""
    headers = {} if header is None else {b"Last-Event-ID": header}
    parameters = "" if query is None else f"?last_event_id={quote_from_bytes(query)}"
    url = f"/sessions/{session_id}/events{parameters}"
    with visitor.http.stream("GET", url, headers=headers) as response:
        assert response.status_code == 200
        events: list[SentEvent] = []
        for event in parse(lines_of(response.iter_raw())):
            events.append(event)
            if event.type == "state" or len(events) == count:
                break
        return events


def assert_one_snapshot(visitor: Visitor, session_id: str, events: list[SentEvent]) -> None:
    assert [event.type for event in events] == ["snapshot", "state"]
    snapshot = visitor.http.get(f"/sessions/{session_id}").json()
    assert events[0].id == snapshot.pop("cursor")
    assert events[0].json == snapshot


def logged(events: list[SentEvent]) -> list[SentEvent]:
    return [event for event in events if event.id is not None]


def answer(visitor: Visitor, session_id: str) -> str:
    messages = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    (text,) = [entry["text"] for entry in messages if entry["role"] == "assistant"]
    assert text
    return text
