"""The fold: building a conversation from its events (`docs/protocol.md`, "The fold").

The page has the same fold in TypeScript; one set of transcripts tests both.

A fold never fails (`unreadable`). An event that cannot be read changes nothing, except that a `reset` empties the
answer and an `end` closes it: that is in their types alone. The reason of such an `end` is `error`. An entry of a
stored turn counts if its turn and its role can be read.
"""

from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar, get_type_hints

import msgspec

from midsentence.events import Delta, EndReason, Entry, Event, Failure, Message, Reasoning, Snapshot, Tool
from midsentence.ids import EventId
from midsentence.unreadable import UNREADABLE, passed_over


class _Ending(msgspec.Struct):
    """What an `end` adds to the conversation."""

    reason: EndReason
    error: Failure | None = None


_snapshot = msgspec.json.Decoder(Snapshot).decode
_message = msgspec.json.Decoder(Message).decode
_tool = msgspec.json.Decoder(Tool).decode
# `delta` and `reasoning` have the same data.
_piece = msgspec.json.Decoder(Delta).decode
_pieces = msgspec.json.Decoder(list[Delta]).decode
_ending = msgspec.json.Decoder(_Ending).decode
_entries = msgspec.json.Decoder(list[Entry]).decode
_raw_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decoders: dict[str, Callable[[bytes], Any]] = {
    name: msgspec.json.Decoder[Any](kind).decode for name, kind in get_type_hints(Entry).items()
}

_Value = TypeVar("_Value")


class Fold:
    """A conversation that grows event by event. Applying an event costs its own size, not that of the answer."""

    def __init__(self, finished: Iterable[bytes] = (), session_id: str = "") -> None:
        """`finished` are the stored turns (`stored_turn`), oldest first. The last one may still be running.

        `session_id` names the session where something that cannot be read is logged.
        """
        self._session_id = session_id
        self._entries: list[Entry] = [entry for turn in finished for entry in read_turn(turn, session_id)]
        # The pieces of the running answer. They are joined when `messages` is called: appending to a str copies it.
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._open = self._unfinished()

    def messages(self) -> list[Entry]:
        """The conversation so far. Callers must not change the entries, which belong to the fold."""
        answer = self._open
        if answer is not None and self._text:
            answer.text += "".join(self._text)
            self._text.clear()
        if answer is not None and self._reasoning:
            before = "" if answer.reasoning is msgspec.UNSET else answer.reasoning
            answer.reasoning = before + "".join(self._reasoning)
            self._reasoning.clear()
        return self._entries

    def turn(self, number: int) -> list[Entry]:
        return [entry for entry in self.messages() if entry.turn == number]

    def apply(self, event: Event) -> None:
        try:
            match event.type:
                case "delta":
                    text = _piece(event.data).text
                    self._answer(event.id.turn)
                    self._text.append(text)
                case "reasoning":
                    text = _piece(event.data).text
                    self._answer(event.id.turn)
                    self._reasoning.append(text)
                case "tool":
                    self._tool(event)
                case "message":
                    self._message(event)
                case "reset":
                    self._reset()
                case "end":
                    self._end(event)
                case "snapshot":
                    self._snapshot(event)
                case _:
                    pass  # `start` adds nothing to the conversation
        except UNREADABLE:
            passed_over(self._session_id, f"event {event.type}")

    def apply_all(self, turn: int, events: Iterable[tuple[str, bytes]]) -> None:
        """Apply many events of a turn, given as (type, data).

        Runs of `delta` or `reasoning` are decoded together, which costs a fraction of decoding each.
        """
        for event_type, run in groupby(events, itemgetter(0)):
            if event_type in {Delta.type, Reasoning.type}:
                if pieces := self._pieces([data for _, data in run], event_type):
                    self._answer(turn)
                    texts = self._text if event_type == Delta.type else self._reasoning
                    texts += [piece.text for piece in pieces]
            else:
                for _, data in run:
                    self.apply(Event(EventId(turn, 0, 0), event_type, data))

    def _pieces(self, run: list[bytes], event_type: str) -> list[Delta]:
        """The pieces of a run. One that cannot be read must not lose the others."""
        try:
            pieces = _pieces(b"[%b]" % b",".join(run))
        except UNREADABLE:
            pieces = []
        if len(pieces) == len(run):
            return pieces
        passed_over(self._session_id, f"event {event_type}")
        return [piece for data in run if (piece := _decoded(_piece, data)) is not None]

    def _snapshot(self, event: Event) -> None:
        self._entries = list(_snapshot(event.data).messages)
        self._clear_pieces()
        self._open = self._unfinished()

    def _unfinished(self) -> Entry | None:
        last = self._entries[-1] if self._entries else None
        return last if last is not None and last.role == "assistant" and last.end is None else None

    def _message(self, event: Event) -> None:
        message = _message(event.data)
        self.messages()
        self._open = None
        self._entries.append(Entry(message.turn, message.parent, "user", message.text, model=message.model))

    def _tool(self, event: Event) -> None:
        tool = _tool(event.data)
        answer = self._answer(event.id.turn)
        if answer.tools is msgspec.UNSET:
            answer.tools = []
        for index, known in enumerate(answer.tools):
            if known.id == tool.id:
                answer.tools[index] = known.merged_with(tool)
                return
        answer.tools.append(tool)

    def _reset(self) -> None:
        self._clear_pieces()
        if self._open is not None:
            self._open.text = ""
            self._open.reasoning = self._open.tools = msgspec.UNSET

    def _clear_pieces(self) -> None:
        self._text.clear()
        self._reasoning.clear()

    def _end(self, event: Event) -> None:
        try:
            end = _ending(event.data)
        except UNREADABLE:
            passed_over(self._session_id, "event end")
            end = _Ending("error")
        answer = self._answer(event.id.turn)
        self.messages()
        answer.end = end.reason
        if end.error is not None:
            answer.error = end.error
        self._open = None

    def _answer(self, turn: int) -> Entry:
        if self._open is None or self._open.turn != turn:
            # The pieces before belong to the answer that was open.
            self.messages()
            parent = next((entry.parent for entry in reversed(self._entries) if entry.turn == turn), turn - 1)
            self._open = Entry(turn, parent, "assistant", "")
            self._entries.append(self._open)
        return self._open


def read_turn(stored: bytes, session_id: str) -> list[Entry]:
    """Decode what `stored_turn` encoded."""
    try:
        return _entries(stored)
    except UNREADABLE:
        passed_over(session_id, "stored turn")
    raw = _decoded(_raw_entries, stored) or []
    return [entry for each in raw if (entry := _partial_entry(bytes(each))) is not None]


def _partial_entry(raw: bytes) -> Entry | None:
    """What can be read of an entry, or None where its turn or its role cannot."""
    fields = _decoded(_raw_fields, raw) or {}
    values = {name: _decoded(decode, bytes(fields[name])) for name, decode in _decoders.items() if name in fields}
    values = {name: value for name, value in values.items() if value is not None}
    if "turn" not in values or "role" not in values:
        return None
    if "end" in fields and "end" not in values and bytes(fields["end"]) != b"null":
        values["end"] = "error"
    defaults: dict[str, Any] = {"parent": values["turn"] - 1, "text": ""}
    return Entry(**(defaults | values))


def _decoded(decode: Callable[[bytes], _Value], data: bytes) -> _Value | None:
    try:
        return decode(data)
    except UNREADABLE:
        return None


def stored_turn(messages: list[Entry]) -> bytes:
    """Encode the messages of one finished turn for the log. A snapshot shows them in the same form."""
    return msgspec.json.encode(messages)
