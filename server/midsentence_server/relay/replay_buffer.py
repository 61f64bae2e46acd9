"""The newest frames of one session, shared by all of its readers.

A frame is kept under the id of the event before it. A reader is a cursor: it lacks the chain of frames that begins
there. This one comparison of ids decides order, gaps and duplicates.
"""

from collections.abc import Iterable
from typing import NamedTuple

# The oldest frames beyond these limits are dropped, and a reader that still lacks them reads the log. This bounds the
# memory that a stalled reader can cost.
_MAX_FRAMES = 512
_MAX_BYTES = 1 << 20


class Frame(NamedTuple):
    """One or more consecutive events as they are sent, and the id of the last."""

    last: bytes
    wire: bytes


class ReplayBuffer:
    __slots__ = ("_after", "_bytes")

    def __init__(self) -> None:
        # Plain tuples of bytes, which the garbage collector stops tracking: there may be a million.
        self._after: dict[bytes, tuple[bytes, bytes]] = {}
        self._bytes = 0

    def append(self, before: bytes, last: bytes, wire: bytes) -> None:
        after = self._after
        if before in after:
            return
        after[before] = (last, wire)
        self._bytes += len(wire)
        while len(after) > _MAX_FRAMES or self._bytes > _MAX_BYTES:
            _, oldest = after.pop(next(iter(after)))
            self._bytes -= len(oldest)

    def prepend(self, frames: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """Add older frames, as (before, last, wire). They stand in front, since the first ones are dropped first."""
        newer = self._after
        self._after = {}
        self._bytes = 0
        for before, last, wire in (*frames, *((before, *frame) for before, frame in newer.items())):
            self.append(before, last, wire)

    @property
    def is_empty(self) -> bool:
        return not self._after

    def clear(self) -> None:
        self._after.clear()
        self._bytes = 0

    def since(self, cursor: bytes) -> Frame | None:
        """Join all frames after the cursor, or give None where no frame is known to follow it."""
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
        """Find the events after one in the middle of a frame: a connection may break anywhere."""
        # No other line can equal this one: data is JSON, which holds no raw line break.
        head = b"id: %b\n" % cursor
        for last, wire in self._after.values():
            if head in wire:
                _, _, rest = wire[wire.index(head) :].partition(b"\n\n")
                return (last, rest) if rest else None
        return None
