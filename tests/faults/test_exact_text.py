"""A reader receives exactly the model's text, whatever its characters mean to SSE, JSON or HTTP.

The sessions are independent, so each test reads all texts at once.
"""

import itertools
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pytest

from tests.support.client import SentEvent, Transcript, Visitor, lines_of, parse
from tests.support.processes import Stack
from tests.support.upstream import Answer
from tests.support.waiting import wait_until

T = TypeVar("T")

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
def visitor(shared_stack: Stack) -> Generator[Visitor]:
    with Visitor(shared_stack.base_url) as client:
        client.http.get("/")
        yield client


def read_all(shared_stack: Stack, read: Callable[[], T], *, split: bool = False) -> dict[str, T]:
    """Ask for all texts at once with `read`, and return what each reader has."""
    with ThreadPoolExecutor(len(TEXTS)) as pool:
        reading: dict[str, Future[T]] = {}
        for name, tokens in TEXTS.items():
            # One delta each: tokens of one flush would be merged.
            shared_stack.upstream.answers.append(Answer(tokens, delay=0.04, split_utf8=split))
            reading[name] = pool.submit(read)
            # The scripted model gives its answers in order, so each is taken before the next question.
            wait_until(lambda: not shared_stack.upstream.answers, description=f"the model is asked for {name}")
        return {name: future.result() for name, future in reading.items()}


@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte by byte"])
def test_a_reader_has_exactly_what_the_model_wrote(shared_stack: Stack, visitor: Visitor, split: bool) -> None:
    """8.11: over cuts after every event, on one connection, and in the snapshot; and the text forges no event."""

    def read() -> Transcript:
        transcript = Transcript(visitor.start("Say it."))
        servers = itertools.cycle(server.base_url for server in shared_stack.servers)
        for _ in range(100):
            if transcript.end():
                break
            visitor.read(transcript.session_id, transcript, limit=1, base_url=next(servers))
        return transcript

    for name, transcript in read_all(shared_stack, read, split=split).items():
        text, session_id = "".join(TEXTS[name]), transcript.session_id
        assert transcript.answer() == text, name
        assert visitor.read(session_id).answer() == text, name
        types = {event.type for event in transcript.events}
        assert types <= {"snapshot", "state", "start", "delta", "end"}, name
        assert visitor.http.get(f"/sessions/{session_id}").json()["messages"][1]["text"] == text, name


def test_a_one_shot_reader_has_exactly_what_the_model_wrote(shared_stack: Stack, visitor: Visitor) -> None:
    """10.1, 10.3: but for the kind of line ends, which an event stream does not keep; [END] comes once, last."""

    def read() -> list[SentEvent]:
        with visitor.http.stream("GET", "/push", params={"param": "Say it."}) as response:
            return [event for event in parse(lines_of(response.iter_raw())) if event.type]

    for name, events in read_all(shared_stack, read).items():
        assert {event.type for event in events} == {"message"}, name
        *pieces, end = [event.data for event in events]
        assert end == "[END]", name
        assert "[END]" not in pieces, name
        session_id = str(events[0].id).partition("/")[0]
        text = "".join(TEXTS[name])
        assert visitor.http.get(f"/sessions/{session_id}").json()["messages"][1]["text"] == text, name
        if "\r" in text:
            # A CRLF that two events share is two line ends to the client, so the lines are compared without them.
            assert lines("".join(pieces)) == lines(text), name
        else:
            assert "".join(pieces) == text, name


def lines(text: str) -> list[str]:
    return [line for line in text.replace("\r", "\n").split("\n") if line]
