"""The parser of providers' event streams follows the HTML standard, section 9.2.6, wherever the bytes are cut."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midsentence_worker.models.event_stream import EventStreamParser, EventTooLongError, ServerSentEvent

BOM = b"\xef\xbb\xbf"
# What the grammar consists of, and bytes that look like a part of it.
WORDS = st.sampled_from(
    [b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", BOM, BOM[:1], BOM[1:], b"x", b"\0"]
)
STREAMS = st.lists(WORDS | st.binary(max_size=4)).map(b"".join)


def parsed(*parts: bytes, longest: int = 2**20) -> list[ServerSentEvent]:
    parser = EventStreamParser(longest)
    return [event for part in parts for event in parser.feed(part)]


def parsed_slowly(stream: bytes) -> list[ServerSentEvent]:
    """The standard's algorithm in its own words, for a stream that is here as a whole, and the one difference."""
    *lines, _ = re.split(rb"\r\n|\n|\r", stream.removeprefix(BOM))
    events: list[ServerSentEvent] = []
    data_buffer = event_type_buffer = b""
    for line in lines:
        if line == b"":
            if data_buffer != b"":
                events.append((event_type_buffer, data_buffer.removesuffix(b"\n")))
            data_buffer = event_type_buffer = b""
            continue
        if line.startswith(BOM + b"data:"):
            line = line.removeprefix(BOM)  # noqa: PLW2901
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            event_type_buffer = value
        elif field == b"data":
            data_buffer += value + b"\n"
    return events


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=200)))
def test_any_bytes_cut_anywhere_give_the_events_of_the_standard(stream: bytes, cuts: list[int]) -> None:
    ends = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert parsed(*(stream[begin:end] for begin, end in pairwise(ends))) == parsed_slowly(stream)


@given(STREAMS)
def test_single_bytes_give_the_events_of_the_whole(stream: bytes) -> None:
    assert parsed(*(stream[at : at + 1] for at in range(len(stream)))) == parsed(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [(b"", b"a")]),
        (b"data:a\r\rdata:  b\r\n\r\n", [(b"", b"a"), (b"", b" b")]),
        (b"data: a\ndata\ndata: b\n\n", [(b"", b"a\n\nb")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [(b"error", b"a"), (b"", b"b")]),
        (b"data\n\n", [(b"", b"")]),
        (b"event: x\nid: 1\nretry: 9\n\n", []),
        (b": ping\n\n", []),
        (b"data: a\n", []),
        (b"data: a", []),
        (BOM + b"data: a\n\n", [(b"", b"a")]),
        (BOM + BOM + b"data: a\n\n", [(b"", b"a")]),
        (b"data: a\n\n" + BOM + b"data: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (BOM + BOM + BOM + b"data: a\n\n", []),
        (b"data: a\n" + BOM + b"\ndata: b\n\n", [(b"", b"a\nb")]),
        ("data: \u2028\u0085\n\n".encode(), [(b"", "\u2028\u0085".encode())]),
    ],
)
def test_stream_gives_its_events(stream: bytes, events: list[tuple[bytes, bytes]]) -> None:
    assert parsed(stream) == events


def test_event_is_given_as_soon_as_its_blank_line_came() -> None:
    parser = EventStreamParser(2**20)
    assert [parser.feed(part) for part in (b"data: a\r", b"\n", b"\r", b"\ndata: b\n\n")] == [
        [],
        [],
        [(b"", b"a")],
        [(b"", b"b")],
    ]


@pytest.mark.parametrize("part", [b"x", b"data: x\n", b"data: x\r"], ids=["line", "lines", "CR"])
def test_event_without_an_end_is_refused(part: bytes) -> None:
    with pytest.raises(EventTooLongError):
        parsed(*[part] * 101, longest=100)


def test_stream_of_any_length_is_taken() -> None:
    assert len(parsed(*[b": comment\ndata: x\n\n"] * 1000, longest=100)) == 1000


@pytest.mark.parametrize(
    ("stream", "rest"),
    [
        (b"", None),
        (b"data: a\n\n", None),
        (b": comment", None),
        (b"data: a", (b"", b"a")),
        (b"data: a\n", (b"", b"a")),
        (b"data: a\n\nevent: error\ndata: b\ndata:c", (b"error", b"b\nc")),
        (b"data: a\ndat", (b"", b"a")),
    ],
)
def test_rest_is_the_event_that_has_not_ended(stream: bytes, rest: ServerSentEvent | None) -> None:
    for cut in range(len(stream) + 1):
        parser = EventStreamParser(100)
        parser.feed(stream[:cut])
        parser.feed(stream[cut:])
        assert parser.rest() == rest
