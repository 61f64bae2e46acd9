"""The readers count tokens correctly, and compare texts exactly."""

import json

from bench.scan import Scan, Tally
from bench.tokens import WIDTH, numbers, token
from bench.transcripts import Transcript

_NOW = 10**18


def _read(*pieces: bytes) -> tuple[Scan, Tally]:
    scan, tally = Scan(), Tally()
    for piece in pieces:
        scan.feed(piece, _NOW, tally)
    return scan, tally


def _event(text: bytes) -> bytes:
    return b'46\r\nid: 1.1-2\nevent: delta\ndata: {"text":"%b"}\n\n\r\n' % text


def test_all_tokens_have_the_same_length() -> None:
    assert {len(token(seq)) for seq in (0, 9, 99, 19_999)} == {WIDTH}


def test_token_split_between_two_reads_is_counted() -> None:
    wire = _event(token(0)) + _event(token(1))
    for cut in range(len(wire) + 1):
        scan, tally = _read(wire[:cut], wire[cut:])
        assert (scan.expected, len(tally.delays), tally.missing, tally.duplicates) == (2, 2, 0, 0), f"split at {cut}"


def test_tokens_that_arrive_byte_by_byte_are_counted() -> None:
    scan, tally = _read(*(bytes([byte]) for byte in _event(token(0) + token(1))))
    assert (scan.expected, len(tally.delays)) == (2, 2)


def test_tokens_in_one_event_are_counted_each() -> None:
    scan, tally = _read(_event(token(0) + token(1) + token(2)))
    assert (scan.expected, len(tally.delays), tally.missing) == (3, 3, 0)


def test_gap_counts_every_missing_token() -> None:
    scan, tally = _read(_event(token(0)), _event(token(3)))
    assert (scan.expected, tally.missing, tally.duplicates) == (4, 2, 0)


def test_repeated_token_is_a_duplicate_and_not_delivered() -> None:
    scan, tally = _read(_event(token(0)), _event(token(1)), _event(token(1)))
    assert (scan.expected, len(tally.delays), tally.missing, tally.duplicates) == (2, 2, 0, 1)


def test_delay_is_from_stamp_to_read() -> None:
    tally = Tally()
    Scan().feed(b"~0.1000;", 1250, tally)
    assert list(tally.delays) == [250]


def test_text_with_anything_but_tokens_is_rejected() -> None:
    whole = token(0) + token(1)
    assert numbers(whole) == [0, 1]
    assert numbers(whole[:-1]) is None, "one byte missing"
    assert numbers(whole + b"x") is None, "one byte too many"
    assert numbers(whole.replace(b"~1", b"~.")) is None, "not a token"


def _response(*events: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


def test_native_reader_continues_at_its_cursor() -> None:
    transcript = Transcript("native")
    transcript.take(_response(_delta("1.1-1", "a"), _delta("1.1-2", "b"), b"id: 1.1-3\nevent: delta\nda"))
    assert (transcript.text, transcript.cursor) == (b"ab", "1.1-2")
    transcript.take(_response(_delta("1.1-3", "c")))
    assert (transcript.text, transcript.cursor) == (b"abc", "1.1-3")


def test_snapshot_replaces_the_text_of_a_native_reader() -> None:
    transcript = Transcript("native")
    transcript.take(_response(_delta("1.1-1", "a")))
    messages = [{"role": "user", "text": "Go on."}, {"role": "assistant", "text": "abc"}]
    snapshot = json.dumps({"messages": messages}).encode()
    transcript.take(_response(b"id: 1.1-3\nevent: snapshot\ndata: %b\n\n" % snapshot, _delta("1.1-4", "d")))
    assert (transcript.text, transcript.cursor) == (b"abcd", "1.1-4")


def test_plain_reader_accepts_a_body_without_chunks() -> None:
    transcript = Transcript("plain")
    transcript.take(b"HTTP/1.1 200 OK\r\n\r\n: hi\n\nid: 7:0\ndata: a\n\nid: 7:1\ndata: b\n\nid: 7:2\nda")
    assert (transcript.text, transcript.cursor) == (b"ab", "7:1")


def test_reader_without_ids_starts_again() -> None:
    transcript = Transcript("whole")
    transcript.take(_response(b"data: a\n\n"))
    transcript.take(_response(b"data: a\n\ndata: b\n\n"))
    assert (transcript.text, transcript.cursor) == (b"ab", None)


def _delta(event_id: str, text: str) -> bytes:
    return b"id: %b\nevent: delta\ndata: %b\n\n" % (event_id.encode(), json.dumps({"text": text}).encode())
