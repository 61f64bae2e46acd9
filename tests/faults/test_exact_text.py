"""What the model writes is what the reader has, character by character, whatever the characters mean to a wire."""

import itertools
from collections.abc import Generator

import pytest

from tests.support.client import SentEvent, Transcript, Visitor, lines_of, parse
from tests.support.processes import Stack
from tests.support.upstream import Answer

TEXTS: dict[str, list[str]] = {
    "carriage returns": ["one\r", "two", "\r\r", "three"],
    "line feeds": ["\n", "\n\n", "one", "\n"],
    "both": ["one\r\n", "two\r", "\nthree", "\n\r"],
    "a forged end": ["x\n\n", "event: end\n", 'data: {"reason":"stop","usage":null,"error":null}\n\n', "y"],
    "a forged id": ["x\n\nid: 9.9-9\n\n", "id: 9.9-9\r\revent: reset\rdata: {}\r\r", "y"],
    "unicode line breaks": ["one\u2028", "two\u2029three", "\x85", "\x0b\x0c", "four"],
    "control characters": ["NUL \x00", "\x1b[31m", "\x7f", "\x01"],
    "byte order marks": ["\ufeff", "one", "\ufeff\ufeff", "two"],
    "emoji": ["😀", "👩‍", "👩‍👧‍", "👦", "🇨", "🇳", "e", "\u0301", "\U0010ffff"],
    "JSON": ['"', "\\", '\\"', "\\u0000", "\\ud83d", "{", "}", "</script>"],
    "spaces": [" ", "  ", "\t", " x", " ", " "],
    "an [END]": ["[END]", "\n", "[END]", "[EN", "D]", "[END]"],
    "only an [END]": ["[END]"],
    "zero": ["0", "0", "-0", "1e400"],
}


@pytest.fixture(scope="module")
def visitor(house: Stack) -> Generator[Visitor]:
    with Visitor(house.base_url) as somebody:
        somebody.http.get("/")
        yield somebody


@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("tokens", TEXTS.values(), ids=TEXTS.keys())
def test_a_reader_has_exactly_what_the_model_wrote(
    house: Stack, visitor: Visitor, tokens: list[str], split: bool
) -> None:
    """8.11: over cuts after every event, in one go, and in the snapshot; and no event comes that is not ours."""
    # One delta each: what is written in one flush is merged.
    house.upstream.answers.append(Answer(tokens, delay=0.04, split_utf8=split))
    session_id = visitor.start("Say it.")
    transcript = Transcript(session_id)
    servers = itertools.cycle(server.base_url for server in house.servers)
    for _ in range(100):
        if transcript.end():
            break
        visitor.read(session_id, transcript, limit=1, base_url=next(servers))
    text = "".join(tokens)
    assert transcript.answer() == text
    assert visitor.read(session_id).answer() == text
    assert {event.type for event in transcript.events} <= {"snapshot", "state", "start", "delta", "end"}
    assert visitor.http.get(f"/sessions/{session_id}").json()["messages"][1]["text"] == text


@pytest.mark.parametrize("tokens", TEXTS.values(), ids=TEXTS.keys())
def test_a_one_shot_reader_has_it_too(house: Stack, visitor: Visitor, tokens: list[str]) -> None:
    """10.1, 10.3: line ends apart, which an event stream cannot tell; [END] comes once, at the end."""
    house.upstream.answers.append(Answer(tokens, delay=0.04))
    with visitor.http.stream("GET", "/push", params={"param": "Say it."}) as response:
        events: list[SentEvent] = [event for event in parse(lines_of(response.iter_raw())) if event.type]
    assert {event.type for event in events} == {"message"}
    *pieces, end = [event.data for event in events]
    assert end == "[END]"
    assert "[END]" not in pieces
    session_id = str(events[0].id).partition("/")[0]
    text = "".join(tokens)
    assert visitor.http.get(f"/sessions/{session_id}").json()["messages"][1]["text"] == text
    if "\r" in text:
        # A CRLF in two events is two line ends there, so line ends are compared by what stands between them.
        assert words("".join(pieces)) == words(text)
    else:
        assert "".join(pieces) == text


def words(text: str) -> list[str]:
    return [word for word in text.replace("\r", "\n").split("\n") if word]
