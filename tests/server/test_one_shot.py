"""What bare `data:` can and cannot say (protocol, section 10)."""

import msgspec
import pytest

from midsentence.events import (
    Delta,
    End,
    Entry,
    Failure,
    Message,
    Payload,
    Reasoning,
    Reset,
    Snapshot,
    StateChange,
    Tool,
    encode,
)
from midsentence.ids import EventId
from midsentence_server.one_shot import OneShot
from tests.support.client import SentEvent, lines_of, parse

SESSION = "00" + "A" * 22


def wire(seq: int, payload: Payload) -> bytes:
    return encode(EventId(1, 1, seq), payload.type, payload.encoded())


def sent(dialect: OneShot, *frames: bytes) -> list[SentEvent]:
    return list(parse(lines_of(iter([dialect.render(b"".join(frames))]))))


def messages(dialect: OneShot, *frames: bytes) -> list[str]:
    """The `event.data` that a page's `onmessage` gets."""
    return [event.data for event in sent(dialect, *frames) if event.type == "message"]


@pytest.mark.parametrize(
    "text", ["你好", "a\nb", "\n", "a\n\nb\n", " two spaces  ", "a\u2028b", "data: x", ": c", "😀", ""]
)
def test_text_arrives_as_it_was_written(text: str) -> None:
    assert messages(OneShot(SESSION), wire(1, Delta(text + "x"))) == [text + "x"]


@pytest.mark.parametrize(
    ("text", "arrives"), [("a\rb", "a\nb"), ("a\r\nb", "a\nb"), ("a\n\revent: end", "a\n\nevent: end")]
)
def test_every_line_break_arrives_as_one_lf(text: str, arrives: str) -> None:
    assert messages(OneShot(SESSION), wire(1, Delta(text))) == [arrives]


def test_an_answer_ends_with_the_end_marker() -> None:
    dialect = OneShot(SESSION)
    assert messages(dialect, wire(1, Delta("hi")), wire(2, End("stop"))) == ["hi", "[END]"]
    assert dialect.is_finished


def test_an_end_marker_in_the_text_does_not_end_the_answer() -> None:
    pieces = messages(OneShot(SESSION), wire(1, Delta("[END]")), wire(2, Delta("more")))
    assert "[END]" not in pieces
    assert "".join(pieces) == "[END]more"


def test_reasoning_and_tools_are_left_out() -> None:
    """Both while they arrive and in a snapshot; but their ids are sent."""
    events = sent(
        OneShot(SESSION), wire(1, Reasoning("Hm. ")), wire(2, Tool("t1", "clock", "{}")), wire(3, Delta("Yes"))
    )
    assert events == [
        SentEvent(f"{SESSION}/1.1-1", "", ""),
        SentEvent(f"{SESSION}/1.1-2", "", ""),
        SentEvent(f"{SESSION}/1.1-3", "message", "Yes"),
    ]
    entries = [Entry(1, 0, "user", "?"), Entry(1, 0, "assistant", "Yes", reasoning="Hm. ", tools=[Tool("t1", "clock")])]
    assert messages(OneShot(SESSION), wire(3, Snapshot(SESSION, "streaming", entries))) == ["Yes"]


def test_a_reconnect_between_the_halves_gets_the_second_half() -> None:
    first, second = sent(OneShot(SESSION), wire(7, Delta("[END]")))
    assert first.id == f"{SESSION}/1.1-7+"
    resumed = OneShot(SESSION, half_sent=EventId(1, 1, 7))
    assert [*sent(resumed, wire(8, Delta("more")))] == [second, SentEvent(f"{SESSION}/1.1-8", "message", "more")]


def test_ids_name_the_session_and_the_event() -> None:
    events = sent(
        OneShot(SESSION), encode(EventId(1, 0, 0), "message", Message("user", "?", 1, 0).encoded()), wire(3, Delta("x"))
    )
    assert events == [SentEvent(f"{SESSION}/1.0-0", "", ""), SentEvent(f"{SESSION}/1.1-3", "message", "x")]


def test_a_failure_is_an_event_before_the_end_marker() -> None:
    failure = Failure("model_stalled", "The model was silent.", retryable=True)
    failed, end = sent(OneShot(SESSION), wire(2, End("error", None, failure)))
    assert (failed.type, failed.json) == ("failed", msgspec.to_builtins(failure))
    assert end.data == "[END]"


def test_a_new_attempt_sends_reset() -> None:
    (event,) = sent(OneShot(SESSION), wire(2, Reset(2, "another worker took over")))
    assert (event.type, event.json["attempt"]) == ("reset", 2)


def test_a_lost_position_sends_reset_and_the_whole_text() -> None:
    entries = [Entry(1, 0, "user", "?"), Entry(1, 0, "assistant", "all of it", "stop")]
    events = sent(OneShot(SESSION), wire(5, Snapshot(SESSION, "idle", entries)))
    assert [(event.type, event.data) for event in events[-2:]] == [("message", "all of it"), ("message", "[END]")]
    assert "reset" in [event.type for event in events]


def test_state_is_left_out() -> None:
    state = StateChange("streaming", 1, [], "title", "demo")
    assert OneShot(SESSION).render(encode(None, state.type, state.encoded())) == b""
