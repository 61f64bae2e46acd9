"""The fold: a conversation from its events.

Protocol 5.15; the page folds alike, and both are held to the same transcripts.
"""

from collections.abc import Iterable

import msgspec

from midsentence.events import Delta, End, Entry, Event, Message, Snapshot
from midsentence.ids import EventId

_snapshot = msgspec.json.Decoder(Snapshot).decode
_message = msgspec.json.Decoder(Message).decode
_delta = msgspec.json.Decoder(Delta).decode
_deltas = msgspec.json.Decoder(list[Delta]).decode
_end = msgspec.json.Decoder(End).decode
_entries = msgspec.json.Decoder(list[Entry]).decode


class Fold:
    """A conversation that grows event by event. Every event costs its own size, not the answer's."""

    def __init__(self, finished: Iterable[bytes] = ()) -> None:
        """`finished` are the stored turns (`stored_turn`), oldest first; the last may be one that still runs."""
        self._entries: list[Entry] = [entry for turn in finished for entry in _entries(turn)]
        # The running answer's pieces; joined only when somebody looks, since adding to a string copies it.
        self._pieces: list[str] = []
        self._open = self._unfinished()

    def messages(self) -> list[Entry]:
        """The conversation so far. The entries are the fold's own: not to be changed."""
        if self._open is not None and self._pieces:
            self._open.text += "".join(self._pieces)
            self._pieces.clear()
        return self._entries

    def turn(self, number: int) -> list[Entry]:
        return [entry for entry in self.messages() if entry.turn == number]

    def apply(self, event: Event) -> None:
        match event.type:
            case "delta":
                self._delta(event)
            case "message":
                self._message(event)
            case "reset":
                self._reset()
            case "end":
                self._end(event)
            case "snapshot":
                self._snapshot(event)
            case _:
                pass  # start, reasoning, tool: of the turn, not of its text

    def apply_all(self, turn: int, events: Iterable[tuple[str, bytes]]) -> None:
        """Apply (type, data) of many events of one turn, the deltas among them at a tenth of what each alone costs."""
        deltas: list[bytes] = []
        for event_type, data in events:
            if event_type == Delta.type:
                deltas.append(data)
            else:
                self._deltas(turn, deltas)
                deltas.clear()
                self.apply(Event(EventId(turn, 0, 0), event_type, data))
        self._deltas(turn, deltas)

    def _deltas(self, turn: int, data: list[bytes]) -> None:
        if data:
            self._answer(turn)
            self._pieces += [delta.text for delta in _deltas(b"[%b]" % b",".join(data))]

    def _snapshot(self, event: Event) -> None:
        self._entries = list(_snapshot(event.data).messages)
        self._pieces.clear()
        self._open = self._unfinished()

    def _unfinished(self) -> Entry | None:
        last = self._entries[-1] if self._entries else None
        return last if last is not None and last.role == "assistant" and last.end is None else None

    def _message(self, event: Event) -> None:
        message = _message(event.data)
        self.messages()
        self._open = None
        self._entries.append(Entry(message.turn, message.parent, "user", message.text))

    def _delta(self, event: Event) -> None:
        self._answer(event.id.turn)
        self._pieces.append(_delta(event.data).text)

    def _reset(self) -> None:
        self._pieces.clear()
        if self._open is not None:
            self._open.text = ""

    def _end(self, event: Event) -> None:
        end = _end(event.data)
        answer = self._answer(event.id.turn)
        self.messages()
        answer.end = end.reason
        if end.error is not None:
            answer.error = end.error
        self._open = None

    def _answer(self, turn: int) -> Entry:
        if self._open is None:
            parent = next((entry.parent for entry in reversed(self._entries) if entry.turn == turn), turn - 1)
            self._open = Entry(turn, parent, "assistant", "")
            self._entries.append(self._open)
        return self._open


def stored_turn(messages: list[Entry]) -> bytes:
    """The messages of one finished turn as they are kept, and as a snapshot shows them."""
    return msgspec.json.encode(messages)
