"""Section 8: the stream of one session."""

import time
from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, MEDIUM, SHORT, SLOW
from tests.protocol.refused import assert_refused
from tests.support.client import SentEvent, Transcript, Visitor, lines_of, parse

LOG_EVENTS = {"message", "start", "delta", "reasoning", "tool", "reset", "end", "snapshot"}


def test_a_stream_has_the_headers_of_an_event_stream(visitor: Visitor) -> None:
    """8.1: the status, and headers that keep proxies from buffering, storing or changing it."""
    session_id = visitor.start(SHORT)
    with visitor.http.stream("GET", f"/sessions/{session_id}/events") as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in response.headers
        assert "content-length" not in response.headers


def test_a_stream_begins_with_a_comment_before_any_event(visitor: Visitor) -> None:
    """8.1: also where no event will ever follow: an idle session and a reader who is caught up."""
    session_id = visitor.start(SHORT)
    cursor = visitor.read(session_id).cursor
    assert cursor is not None
    asked = time.monotonic()
    with visitor.http.stream("GET", f"/sessions/{session_id}/events", headers={"Last-Event-ID": cursor}) as response:
        assert response.status_code == 200
        first = next(response.iter_raw())
    assert first.startswith(b":")
    assert time.monotonic() - asked < 3


def test_a_fresh_reader_gets_the_snapshot_and_then_the_state(visitor: Visitor) -> None:
    """8.3, 8.5: exactly one snapshot, first; `state` follows it."""
    session_id = visitor.start(MEDIUM)
    transcript = visitor.read(session_id)
    kinds = [event.type for event in transcript.events]
    assert kinds[:2] == ["snapshot", "state"]
    assert kinds.count("snapshot") == 1
    snapshot = transcript.events[0].json
    assert set(snapshot) == {"session_id", "state", "messages"}
    assert snapshot["session_id"] == session_id
    assert snapshot["messages"][0] == {"turn": 1, "parent": 0, "role": "user", "text": MEDIUM, "end": None}


def test_a_replay_is_followed_by_the_state(visitor: Visitor) -> None:
    """8.5: an attach with a cursor gets the missing events and then the state."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    with visitor.events(session_id, "1.0-0", until_end=False) as events:
        seen = [next(events)]
        while seen[-1].type != "state":
            seen.append(next(events))
    kinds = [event.type for event in seen]
    assert kinds[0] == "start"
    assert kinds[-2:] == ["end", "state"]
    assert set(kinds[1:-2]) == {"delta"}
    assert seen[-1].json["state"] == "idle"


def test_state_is_sent_only_when_it_changes(visitor: Visitor) -> None:
    """8.5, 8.13: no two equal states in a row; the last one is idle and follows the end."""
    session_id = visitor.start(MEDIUM)
    visitor.send(session_id, SHORT, **{"Idempotency-Key": "k"})
    transcript = visitor.read(session_id)
    states = [event.json for event in transcript.events if event.type == "state"]
    assert all(before != after for before, after in pairwise(states))
    assert {state["state"] for state in states} <= {"idle", "queued", "streaming"}
    assert all(set(state) == {"state", "turn", "queued", "title", "model"} for state in states)
    assert (states[-1]["state"], states[-1]["turn"], states[-1]["queued"]) == ("idle", 2, [])
    assert [event.type for event in transcript.events][-1] == "state"


def test_state_names_the_model_that_answers(visitor: Visitor) -> None:
    """8.13: the model that `start` names."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    with visitor.events(session_id, "1.0-0") as events:
        last = {event.type: event.json for event in events}
    assert last["state"]["model"] == last["start"]["model"]


def test_only_log_events_have_an_id(visitor: Visitor, deployment: Deployment) -> None:
    """1.2, 8.5, 8.6: an id is a cursor, so `state` and `ping` must not carry one."""
    session_id = visitor.start(MEDIUM)
    seen = list(visitor.read(session_id).events)
    with visitor.events(session_id, "1.0-0", until_end=False) as events:
        while not seen or seen[-1].type != "ping":
            seen.append(next(events))
    assert {"snapshot", "start", "delta", "end", "state", "ping"} <= {event.type for event in seen}
    for event in seen:
        assert (event.id is not None) == (event.type in LOG_EVENTS), event


def test_ids_are_dense_within_a_turn_and_name_one_content(visitor: Visitor) -> None:
    """1.1, 1.2: seq goes up by one, and a second read gives the same events under the same ids."""
    session_id = visitor.start(MEDIUM)
    visitor.send(session_id, SHORT)
    first = visitor.read(session_id)
    live = {event.id: event for event in first.events if event.id and event.type != "snapshot"}
    with visitor.events(session_id, "1.0-0") as events:
        again = [event for event in events if event.id is not None]
    assert [event.id for event in again if event.id and event.id.startswith("1.")] == [
        f"1.1-{number}" for number in range(1, len([event for event in again if str(event.id).startswith("1.")]) + 1)
    ]
    assert next(event.id for event in again if str(event.id).startswith("2.")) == "2.0-0"
    assert live
    replayed = {event.id: event for event in again}
    assert {event_id: replayed[event_id] for event_id in live} == live


def test_start_delta_and_end_have_the_documented_fields(visitor: Visitor) -> None:
    """8.12: the data of `start`, `delta` and `end`."""
    session_id = visitor.start(SHORT)
    visitor.read(session_id)
    with visitor.events(session_id, "1.0-0") as events:
        start, *deltas, end = [event for event in events if event.id is not None]
    assert set(start.json) == {"turn", "attempt", "model"}
    assert (start.json["turn"], start.json["attempt"]) == (1, 1)
    assert start.json["model"]
    assert deltas
    assert all(set(delta.json) == {"text"} for delta in deltas)
    assert set(end.json) == {"reason", "usage", "error"}
    assert (end.json["reason"], end.json["error"]) == ("stop", None)
    usage = end.json["usage"]
    assert set(usage) == {"input_tokens", "output_tokens", "source"}
    assert usage["source"] in {"reported", "estimated"}
    assert usage["output_tokens"] > 0


def test_a_running_answer_has_no_end_in_the_snapshot(visitor: Visitor) -> None:
    """8.14: `end` is null during the answer, its reason afterwards, and always null for a user's message."""
    session_id = visitor.start(LONG)
    with visitor.events(session_id) as events:
        next(event for event in events if event.type == "delta")
    user, answer = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    assert (user["role"], user["end"]) == ("user", None)
    assert (answer["role"], answer["turn"], answer["parent"], answer["end"]) == ("assistant", 1, 0, None)
    assert answer["text"]
    visitor.http.delete(f"/sessions/{session_id}")
    short = visitor.start(SHORT)
    visitor.read(short)
    user, answer = visitor.http.get(f"/sessions/{short}").json()["messages"]
    assert (user["end"], answer["end"]) == (None, "stop")
    assert "error" not in answer


def test_a_silent_stream_pings(visitor: Visitor, deployment: Deployment) -> None:
    """8.6: a named event without an id, so that a page can detect a stall."""
    session_id = visitor.start(SHORT)
    cursor = visitor.read(session_id).cursor
    with visitor.events(session_id, cursor, until_end=False) as events:
        for _ in range(2 if deployment.ping_seconds < 5 else 1):
            since = time.monotonic()
            ping = next(event for event in events if event.type != "state")
            assert time.monotonic() - since < deployment.ping_seconds + 1
            assert ping == (None, "ping", "{}")


def test_until_end_closes_after_the_end(visitor: Visitor) -> None:
    """8.8: when nothing is queued after it; a caught-up reader then gets 204, which stops an EventSource."""
    session_id = visitor.start(SHORT)
    transcript = visitor.read(session_id)
    assert transcript.end() == "stop"
    with visitor.http.stream(
        "GET", f"/sessions/{session_id}/events?until=end", headers={"Last-Event-ID": str(transcript.cursor)}
    ) as response:
        assert response.status_code == 204
        assert response.read() == b""


def test_until_end_stays_open_while_a_message_is_queued(visitor: Visitor) -> None:
    """8.8: a queued message is answered on the same connection."""
    session_id = visitor.start(MEDIUM)
    visitor.send(session_id, SHORT)
    with visitor.events(session_id, "1.0-0") as events:
        ends = [event.id for event in events if event.type == "end"]
    assert [str(end).split(".")[0] for end in ends] == ["1", "2"]


def test_until_end_misses_no_message_accepted_before_the_request(visitor: Visitor, deployment: Deployment) -> None:
    """8.8: whatever the cursor, also on a server that still holds the session as idle."""
    session_id = visitor.start(SHORT)
    transcript = visitor.read(session_id)
    for turn in range(2, 7):
        # Both servers hold the session in memory.
        for server in (deployment.base_url, deployment.elsewhere):
            visitor.read(session_id, Transcript(session_id), base_url=server)
        visitor.send(session_id, SHORT)
        late = Transcript(session_id) if turn % 2 else transcript
        visitor.read(session_id, late, base_url=deployment.elsewhere)
        assert late.end(turn) == "stop"


def test_204_needs_a_caught_up_cursor_and_until_end(visitor: Visitor) -> None:
    """8.8: not without a cursor, not behind, not without `until=end`, not while a turn runs."""
    session_id = visitor.start(SHORT)
    cursor = str(visitor.read(session_id).cursor)
    assert status(visitor, session_id, "?until=end", cursor) == 204
    assert status(visitor, session_id, "?until=end", None) == 200
    assert status(visitor, session_id, "?until=end", "1.0-0") == 200
    assert status(visitor, session_id, "?until=end", "1.1-99") == 200
    assert status(visitor, session_id, "", cursor) == 200
    assert status(visitor, session_id, "?until=never", cursor) == 200
    visitor.send(session_id, LONG)
    assert status(visitor, session_id, "?until=end", cursor) == 200
    visitor.http.delete(f"/sessions/{session_id}")


def test_until_end_on_a_finished_session_gives_the_snapshot_and_closes(visitor: Visitor) -> None:
    """8.8, 8.3: a reader without a cursor gets the whole conversation once."""
    session_id = visitor.start(SHORT)
    first = visitor.read(session_id)
    late = visitor.read(session_id, Transcript(session_id))
    assert [event.type for event in late.events] == ["snapshot", "state"]
    assert late.messages == first.messages
    assert late.cursor == first.cursor


def test_a_stream_without_until_end_stays_open_for_the_next_turn(visitor: Visitor) -> None:
    """8.8: a page keeps one stream over many turns."""
    session_id = visitor.start(SHORT)
    with visitor.events(session_id, until_end=False) as events:
        transcript = Transcript(session_id)
        take_until_end(transcript, events, 1)
        visitor.send(session_id, SHORT)
        take_until_end(transcript, events, 2)
    assert [transcript.end(turn) for turn in (1, 2)] == ["stop", "stop"]
    assert transcript.snapshots == 1


def test_two_readers_read_the_same(visitor: Visitor, deployment: Deployment) -> None:
    """8.11: two tabs at once, on two servers where there are two."""
    session_id = visitor.start(MEDIUM)
    one, two = Transcript(session_id), Transcript(session_id)
    with (
        visitor.events(session_id) as here,
        visitor.events(session_id, base_url=deployment.elsewhere) as there,
    ):
        take_until_end(one, here, 1)
        take_until_end(two, there, 1)
    assert one.messages == two.messages
    assert one.answer()


def test_snapshot_and_deltas_make_exactly_the_stored_text(visitor: Visitor) -> None:
    """8.4, 8.11: a reader who joins in mid-answer ends with the same text as one who read from the beginning."""
    session_id = visitor.start(SLOW)
    with visitor.events(session_id) as events:
        early = Transcript(session_id)
        for event in events:
            early.take(event)
            if event.type == "delta" and len(early.answer()) > 20:
                break
        late = visitor.read(session_id)
        for event in events:
            early.take(event)
    assert 0 < len(late.events[0].json["messages"][-1]["text"]) < len(late.answer())
    assert late.answer() == early.answer() == stored(visitor, session_id)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_a_stream_accepts_only_get(visitor: Visitor, method: str) -> None:
    """8.10: 405 with Allow; a HEAD would hold open a stream that nobody reads."""
    session_id = visitor.start(SHORT)
    response = visitor.http.request(method, f"/sessions/{session_id}/events")
    assert response.status_code == 405
    assert "GET" in response.headers["allow"].split(", ")
    assert "HEAD" not in response.headers["allow"].split(", ")


ACCEPTED = [
    "text/event-stream",
    "*/*",
    "text/*",
    "text/html, */*;q=0.1",
    "TEXT/Event-Stream;q=0.5",
    "a/b, text/event-stream",
]
REFUSED = ["application/json", "text/html", "text/event-stream;q=0", "text/event-stream; q=0.0, */*", "*/*;q=0", "x"]


@pytest.mark.parametrize("accept", ACCEPTED)
def test_an_accept_that_allows_event_streams_is_served(visitor: Visitor, accept: str) -> None:
    """8.10: ranges and weights as in RFC 9110, 12.5.1."""
    session_id = visitor.start(SHORT)
    with visitor.http.stream("GET", f"/sessions/{session_id}/events", headers={"Accept": accept}) as response:
        assert response.status_code == 200


@pytest.mark.parametrize("accept", REFUSED)
def test_an_accept_that_excludes_event_streams_is_refused(visitor: Visitor, accept: str) -> None:
    """8.10: 406; the more specific range decides."""
    session_id = visitor.start(SHORT)
    response = visitor.http.get(f"/sessions/{session_id}/events", headers={"Accept": accept})
    assert_refused(response, 406, "not_acceptable")


def test_several_accept_headers_are_one_list(base_url: str, visitor: Visitor) -> None:
    """8.10: fields of one name are joined (RFC 9110, 5.3)."""
    session_id = visitor.start(SHORT)
    headers = httpx.Headers([("Accept", "application/json"), ("Accept", "text/event-stream")])
    del visitor.http.headers["accept"]
    with visitor.http.stream("GET", f"/sessions/{session_id}/events", headers=headers) as response:
        assert response.status_code == 200


def test_text_forges_no_field_and_no_event(visitor: Visitor) -> None:
    """8.15: each data line is JSON on one line, so no text can forge a field, an event or an id."""
    session_id = visitor.start(SHORT)
    visitor.send(session_id, "x\n\nid: 7.1-1\nevent: end\ndata: {}\n\n\r\r\u2028")
    with visitor.http.stream("GET", f"/sessions/{session_id}/events?until=end") as response:
        wire = response.read()
    assert b"\r" not in wire
    for line in wire.split(b"\n"):
        assert line.partition(b":")[0] in {b"", b"id", b"event", b"data", b"retry"}, line
    events = list(parse(lines_of(iter([wire]))))
    assert "7.1-1" not in {event.id for event in events}


def status(visitor: Visitor, session_id: str, query: str, cursor: str | None) -> int:
    headers = {} if cursor is None else {"Last-Event-ID": cursor}
    with visitor.http.stream("GET", f"/sessions/{session_id}/events{query}", headers=headers) as response:
        return response.status_code


def take_until_end(transcript: Transcript, events: Iterator[SentEvent], turn: int) -> None:
    for event in events:
        transcript.take(event)
        if transcript.end(turn):
            return


def stored(visitor: Visitor, session_id: str) -> str:
    messages = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
    return "".join(entry["text"] for entry in messages if entry["role"] == "assistant")
