"""The server's fold and the page's fold give the same conversations from the same transcripts (protocol 8.15)."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midsentence.events import Delta, Event, Reset
from midsentence.fold import Fold, stored_turn
from midsentence.ids import EventId

TRANSCRIPTS = sorted((Path(__file__).parents[1] / "transcripts").glob("*.json"))


def folded(events: list[dict[str, Any]], fold: Fold) -> Fold:
    for event in events:
        event_id = EventId.parse(event.get("id") or "") or EventId(0, 0, 0)
        fold.apply(Event(event_id, event["event"], json.dumps(event["data"]).encode()))
    return fold


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_folds_to_its_conversation(path: Path) -> None:
    transcript = json.loads(path.read_text())
    messages = msgspec.to_builtins(folded(transcript["events"], Fold()).messages())
    assert transcript["expected"]["messages"] == messages


def test_a_read_between_two_events_changes_nothing() -> None:
    """The fold joins an answer's pieces only on a read, so the result must not depend on when that is."""
    for path in TRANSCRIPTS:
        transcript = json.loads(path.read_text())
        fold = Fold()
        for event in transcript["events"]:
            folded([event], fold).messages()
        assert transcript["expected"]["messages"] == msgspec.to_builtins(fold.messages()), path.stem


def test_many_events_at_once_fold_like_single_events() -> None:
    """`apply_all` is the faster way by which a log is read."""
    for path in TRANSCRIPTS:
        transcript = json.loads(path.read_text())
        events = [(EventId.parse(event["id"]), event) for event in transcript["events"] if event["id"]]
        fold = Fold()
        for turn, of_turn in groupby(events, lambda pair: pair[0].turn if pair[0] else 0):
            fold.apply_all(turn, [(event["event"], json.dumps(event["data"]).encode()) for _, event in of_turn])
        assert transcript["expected"]["messages"] == msgspec.to_builtins(fold.messages()), path.stem


def test_a_fold_continues_from_stored_turns() -> None:
    """Whether a turn was running or finished when it was stored."""
    for path in TRANSCRIPTS:
        transcript = json.loads(path.read_text())
        for cut in range(len(transcript["events"]) + 1):
            half = folded(transcript["events"][:cut], Fold())
            turns = sorted({entry.turn for entry in half.messages()})
            whole = folded(transcript["events"][cut:], Fold([stored_turn(half.turn(turn)) for turn in turns]))
            assert transcript["expected"]["messages"] == msgspec.to_builtins(whole.messages()), (path.stem, cut)


@given(st.lists(st.tuples(st.sampled_from(["delta", "reasoning", "reset"]), st.text(max_size=3)), max_size=12))
def test_reasoning_and_text_stay_separate_in_any_order(pieces: list[tuple[str, str]]) -> None:
    """Each holds its own pieces since the last reset."""
    fold, at_once = Fold(), Fold()
    events = [(kind, Delta(text).encoded() if kind != "reset" else Reset(2, text).encoded()) for kind, text in pieces]
    for seq, (kind, data) in enumerate(events, start=1):
        fold.apply(Event(EventId(1, 1, seq), kind, data))
    at_once.apply_all(1, events)
    assert fold.messages() == at_once.messages()
    last = max((at + 1 for at, (kind, _) in enumerate(pieces) if kind == "reset"), default=0)
    for answer in fold.messages():
        assert answer.text == "".join(text for kind, text in pieces[last:] if kind == "delta")
        assert (answer.reasoning or "") == "".join(text for kind, text in pieces[last:] if kind == "reasoning")
        assert (answer.reasoning is not msgspec.UNSET) == any(kind == "reasoning" for kind, _ in pieces[last:])
