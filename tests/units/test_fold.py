"""The fold and the page's fold are held to the same transcripts (protocol 5.15)."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midsentence.events import Event
from midsentence.fold import Fold, stored_turn
from midsentence.ids import ORIGIN, EventId

TRANSCRIPTS = sorted((Path(__file__).parents[1] / "transcripts").glob("*.json"))


def folded(events: list[dict[str, Any]], fold: Fold) -> Fold:
    for event in events:
        event_id = EventId.parse(event.get("id") or "") or ORIGIN
        fold.apply(Event(event_id, event["event"], json.dumps(event["data"]).encode()))
    return fold


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_folds_to_its_conversation(path: Path) -> None:
    transcript = json.loads(path.read_text())
    messages = msgspec.to_builtins(folded(transcript["events"], Fold()).messages())
    assert transcript["expected"]["messages"] == messages


def test_looking_between_any_two_events_changes_nothing() -> None:
    """The fold joins an answer's pieces only when somebody looks; when they look must not matter."""
    for path in TRANSCRIPTS:
        transcript = json.loads(path.read_text())
        fold = Fold()
        for event in transcript["events"]:
            folded([event], fold).messages()
        assert transcript["expected"]["messages"] == msgspec.to_builtins(fold.messages()), path.stem


def test_a_fold_goes_on_from_stored_turns() -> None:
    events = json.loads((TRANSCRIPTS[0].parent / "two_turns.json").read_text())
    whole = folded(events["events"], Fold())
    stored = [stored_turn(whole.turn(number)) for number in (1, 2)]
    assert Fold(stored).messages() == whole.messages()
