"""The fold of a session up to one event, and its snapshot as it is sent: made once, however many readers come."""

from midsentence.events import Snapshot, State, decode, encode
from midsentence.fold import Fold
from midsentence.ids import EventId
from midsentence_server.relay.replay_buffer import Frame


class SnapshotCache:
    __slots__ = ("_fold", "_wire", "cursor")

    def __init__(self) -> None:
        # The event up to which the session is folded; empty where there is no fold.
        self.cursor = b""
        self._fold: Fold | None = None
        self._wire = b""

    def put(self, fold: Fold, cursor: bytes) -> None:
        self._fold, self.cursor, self._wire = fold, cursor, b""

    def clear(self) -> None:
        self._fold, self.cursor, self._wire = None, b"", b""

    def state_changed(self) -> None:
        # The snapshot names the state.
        self._wire = b""

    def advance(self, newer: Frame, session_id: str, state: State) -> Frame:
        """Fold these events too, which follow `cursor`, and give the snapshot."""
        assert self._fold is not None  # noqa: S101 - a caller checks `cursor`
        if newer.wire or not self._wire:
            for event in decode(newer.wire):
                self._fold.apply(event)
            self.cursor = newer.last
            folded = Snapshot(session_id, state, self._fold.messages())
            self._wire = encode(EventId.parse(newer.last.decode(errors="replace")), "snapshot", folded.encoded())
        return Frame(self.cursor, self._wire)
