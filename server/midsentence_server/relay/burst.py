"""Frames that were published together, encoded once for all readers."""

from typing import NamedTuple


class Burst(NamedTuple):
    """The id before the frames and that of the last one, and the frames as events and as a chunk of HTTP/1.1."""

    before: bytes
    last: bytes
    wire: bytes
    chunk: bytes


def chunk(wire: bytes) -> bytes:
    """RFC 9112, 7.1."""
    return b"%x\r\n%b\r\n" % (len(wire), wire)
