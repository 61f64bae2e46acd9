"""docs/protocol.md 5.15 and 1.2, as the page has them: its own modules, imported from the server that ships them."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.browser.chat import Reader

pytestmark = pytest.mark.needs_chromium

TRANSCRIPTS = sorted((Path(__file__).parent.parent / "transcripts").glob("*.json"))

FOLD = """async (events) => {
  const { fold, nothing } = await import('/page/fold.js');
  return events.reduce(fold, nothing);
}"""
# In a module, writing to what is frozen throws.
FOLD_FROZEN = """async (events) => {
  const { fold, nothing } = await import('/page/fold.js');
  const frozen = (value) => {
    if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(frozen);
    return value;
  };
  events.reduce((state, event) => frozen(fold(state, event)), nothing);
}"""
PLACE = "async ([cursor, id]) => (await import('/page/cursor.js')).place(cursor, id)"


def test_the_page_folds_every_transcript_to_its_conversation(reader: Reader) -> None:
    page = reader.open().page
    for path in TRANSCRIPTS:
        transcript: dict[str, Any] = json.loads(path.read_text())
        assert transcript["expected"] == page.evaluate(FOLD, transcript["events"]), path.stem


def test_the_fold_leaves_the_state_that_it_was_given_alone(reader: Reader) -> None:
    page = reader.open().page
    events = json.loads((TRANSCRIPTS[0].parent / "two_turns.json").read_text())["events"]
    page.evaluate(FOLD_FROZEN, events)


@pytest.mark.parametrize(
    ("cursor", "event_id", "expected"),
    [
        (None, "3.2-17", "next"),
        ("0.0-0", "1.0-0", "next"),
        ("1.0-0", "1.1-1", "next"),
        ("1.1-4", "1.1-5", "next"),
        ("1.1-4", "1.2-5", "next"),
        ("1.1-9", "1.1-10", "next"),
        ("1.2-5", "2.0-0", "next"),
        ("1.1-4", "1.1-4", "seen"),
        ("1.1-4", "1.1-3", "seen"),
        ("2.0-0", "1.1-7", "seen"),
        ("1.2-5", "1.1-3", "seen"),
        ("1.1-4", "1.1-6", "hole"),
        ("1.1-4", "1.2-4", "hole"),
        ("1.2-4", "1.1-5", "hole"),
        ("1.1-4", "2.1-1", "hole"),
        ("1.1-4", "3.0-0", "hole"),
        ("1.1-4", "nonsense", "hole"),
    ],
)
def test_a_reader_sees_by_the_ids_alone_that_nothing_is_missing(
    reader: Reader, cursor: str | None, event_id: str, expected: Literal["next", "seen", "hole"]
) -> None:
    assert expected == reader.open().page.evaluate(PLACE, [cursor, event_id])
