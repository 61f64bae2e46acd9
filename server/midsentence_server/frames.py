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
        self._after: dict[bytes, Frame] = {}
        self._bytes = 0

    def keep(self, before: bytes, frame: Frame) -> None:
        after = self._after
        if before in after:
            return
        after[before] = frame
        self._bytes += len(frame.wire)
        while len(after) > _KEPT_FRAMES or self._bytes > _KEPT_BYTES:
            self._bytes -= len(after.pop(next(iter(after))).wire)

    def put_before(self, frames: Iterable[tuple[bytes, Frame]]) -> None:
        """Keep older frames too. In front of the rest, since the oldest are the first to go."""
        newer = self._after
        self._after = {}
        self._bytes = 0
        for before, frame in (*frames, *newer.items()):
            self.keep(before, frame)

    def clear(self) -> None:
        self._after.clear()
        self._bytes = 0

    def since(self, cursor: bytes) -> Frame | None:
        """Join all frames after the cursor, or give None where none is known to follow it."""
        after = self._after
        frame = after.get(cursor) or self._rest_of(cursor)
        if frame is None or (following := after.get(frame.last)) is None:
            return frame
        wires = [frame.wire]
        while following is not None:
            wires.append(following.wire)
            frame = following
            following = after.get(frame.last)
        return Frame(frame.last, b"".join(wires))

    def _rest_of(self, cursor: bytes) -> Frame | None:
        """What follows an event that came with others: a connection may break anywhere."""
        # As a whole line this stands nowhere but at the head of that event: data is JSON and holds no raw line break.
        head = b"id: %b\n" % cursor
        for frame in self._after.values():
            if head in frame.wire:
                _, _, rest = frame.wire[frame.wire.index(head) :].partition(b"\n\n")
                return Frame(frame.last, rest) if rest else None
        return None
