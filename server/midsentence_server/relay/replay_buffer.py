"""The frames of one session that came lately, shared by all of its readers.

A frame is kept under the id of the event before it. A reader is a cursor: what it still lacks is the chain of frames
that begins there. Order, holes and duplicates are all settled by that one comparison of ids.
"""

from collections.abc import Iterable
from typing import NamedTuple

# Frames beyond these are let go, oldest first; a reader who still needs them reads the log. Bounds what a stalled
# reader can cost.
_KEPT_FRAMES = 512
_KEPT_BYTES = 1 << 20


class Frame(NamedTuple):
    """One event on the wire, or a few that came together, and the id of the last of them."""

    last: bytes
    wire: bytes


class Frames:
    __slots__ = ("_after", "_bytes")

    def __init__(self) -> None:
        # As plain tuples: a collector stops looking at those that hold nothing but bytes, and there may be a million.
        self._after: dict[bytes, tuple[bytes, bytes]] = {}
        self._bytes = 0

    def keep(self, before: bytes, last: bytes, wire: bytes) -> None:
        after = self._after
        if before in after:
            return
        after[before] = (last, wire)
        self._bytes += len(wire)
        while len(after) > _KEPT_FRAMES or self._bytes > _KEPT_BYTES:
            _, oldest = after.pop(next(iter(after)))
            self._bytes -= len(oldest)

    def put_before(self, frames: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """Keep older frames too. In front of the rest, since the oldest are the first to go."""
        newer = self._after
        self._after = {}
        self._bytes = 0
        for before, last, wire in (*frames, *((before, *frame) for before, frame in newer.items())):
            self.keep(before, last, wire)

    @property
    def is_empty(self) -> bool:
        return not self._after

    def clear(self) -> None:
        self._after.clear()
        self._bytes = 0

    def since(self, cursor: bytes) -> Frame | None:
        """Join all frames after the cursor, or give None where none is known to follow it."""
        after = self._after
        frame = after.get(cursor) or self._rest_of(cursor)
        if frame is None:
            return None
        wires: list[bytes] = []
        last = cursor
        while frame is not None:
            last, wire = frame
            wires.append(wire)
            frame = after.get(last)
        return Frame(last, b"".join(wires))

    def _rest_of(self, cursor: bytes) -> tuple[bytes, bytes] | None:
        """What follows an event that came with others: a connection may break anywhere."""
        # As a whole line this stands nowhere but at the head of that event: data is JSON and holds no raw line break.
        head = b"id: %b\n" % cursor
        for last, wire in self._after.values():
            if head in wire:
                _, _, rest = wire[wire.index(head) :].partition(b"\n\n")
                return (last, rest) if rest else None
        return None
