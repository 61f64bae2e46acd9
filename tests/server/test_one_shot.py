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


def heard(dialect: OneShot, *frames: bytes) -> list[str]:
    """The `event.data` of what a page's `onmessage` gets."""
    return [event.data for event in sent(dialect, *frames) if event.type == "message"]


@pytest.mark.parametrize(
    "text", ["你好", "a\nb", "\n", "a\n\nb\n", " two spaces  ", "a\u2028b", "data: x", ": c", "😀", ""]
)
def test_text_arrives_as_it_was_written(text: str) -> None:
    assert heard(OneShot(SESSION), wire(1, Delta(text + "x"))) == [text + "x"]


@pytest.mark.parametrize(
    ("text", "arrives"), [("a\rb", "a\nb"), ("a\r\nb", "a\nb"), ("a\n\revent: end", "a\n\nevent: end")]
)
def test_every_line_break_arrives_as_one_lf(text: str, arrives: str) -> None:
    assert heard(OneShot(SESSION), wire(1, Delta(text))) == [arrives]


def test_an_answer_ends_with_end_and_says_so() -> None:
    dialect = OneShot(SESSION)
    assert heard(dialect, wire(1, Delta("hi")), wire(2, End("stop"))) == ["hi", "[END]"]
    assert dialect.is_finished


def test_a_model_that_says_end_does_not_end_its_answer() -> None:
    pieces = heard(OneShot(SESSION), wire(1, Delta("[END]")), wire(2, Delta("more")))
    assert "[END]" not in pieces
    assert "".join(pieces) == "[END]more"


def test_what_was_thought_is_not_said() -> None:
    """Neither as it comes nor where the place in the answer was lost; but its place is learnt."""
    events = sent(
        OneShot(SESSION), wire(1, Reasoning("Hm. ")), wire(2, Tool("t1", "clock", "{}")), wire(3, Delta("Yes"))
    )
    assert events == [
        SentEvent(f"{SESSION}/1.1-1", "", ""),
        SentEvent(f"{SESSION}/1.1-2", "", ""),
        SentEvent(f"{SESSION}/1.1-3", "message", "Yes"),
    ]
    entries = [Entry(1, 0, "user", "?"), Entry(1, 0, "assistant", "Yes", reasoning="Hm. ", tools=[Tool("t1", "clock")])]
    assert heard(OneShot(SESSION), wire(3, Snapshot(SESSION, "streaming", entries))) == ["Yes"]


def test_a_cut_between_the_halves_of_such_a_piece_costs_nothing() -> None:
    first, second = sent(OneShot(SESSION), wire(7, Delta("[END]")))
    assert first.id == f"{SESSION}/1.1-7+"
    resumed = OneShot(SESSION, half_sent=EventId(1, 1, 7))
    assert [*sent(resumed, wire(8, Delta("more")))] == [second, SentEvent(f"{SESSION}/1.1-8", "message", "more")]


def test_ids_carry_the_session_and_the_place() -> None:
    events = sent(
        OneShot(SESSION), encode(EventId(1, 0, 0), "message", Message("user", "?", 1, 0).encoded()), wire(3, Delta("x"))
    )
    assert events == [SentEvent(f"{SESSION}/1.0-0", "", ""), SentEvent(f"{SESSION}/1.1-3", "message", "x")]


def test_a_failure_has_a_name_of_its_own_before_the_end() -> None:
    failure = Failure("model_stalled", "The model was silent.", retryable=True)
    failed, end = sent(OneShot(SESSION), wire(2, End("error", None, failure)))
    assert (failed.type, failed.json) == ("failed", msgspec.to_builtins(failure))
    assert end.data == "[END]"


def test_a_new_attempt_is_announced_to_who_listens() -> None:
    (event,) = sent(OneShot(SESSION), wire(2, Reset(2, "another worker took over")))
    assert (event.type, event.json["attempt"]) == ("reset", 2)


def test_a_lost_place_begins_the_text_again_and_says_so() -> None:
    entries = [Entry(1, 0, "user", "?"), Entry(1, 0, "assistant", "all of it", "stop")]
    events = sent(OneShot(SESSION), wire(5, Snapshot(SESSION, "idle", entries)))
    assert [(event.type, event.data) for event in events[-2:]] == [("message", "all of it"), ("message", "[END]")]
    assert "reset" in [event.type for event in events]


def test_state_is_not_for_a_one_shot_reader() -> None:
    state = StateChange("streaming", 1, [], "title", "demo")
    assert OneShot(SESSION).render(encode(None, state.type, state.encoded())) == b""
