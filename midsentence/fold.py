"""The fold: building a conversation from its events (`docs/protocol.md`, "The fold").

The page has the same fold in TypeScript; one set of transcripts tests both.
"""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

import msgspec

from midsentence.events import Delta, End, Entry, Event, Message, Reasoning, Snapshot, Tool
from midsentence.ids import EventId

_snapshot = msgspec.json.Decoder(Snapshot).decode
_message = msgspec.json.Decoder(Message).decode
_tool = msgspec.json.Decoder(Tool).decode
# `delta` and `reasoning` have the same data.
_piece = msgspec.json.Decoder(Delta).decode
_pieces = msgspec.json.Decoder(list[Delta]).decode
_end = msgspec.json.Decoder(End).decode
_entries = msgspec.json.Decoder(list[Entry]).decode


class Fold:
    """A conversation that grows event by event. Applying an event costs its own size, not that of the answer."""

    def __init__(self, finished: Iterable[bytes] = ()) -> None:
        """`finished` are the stored turns (`stored_turn`), oldest first. The last one may still be running."""
        self._entries: list[Entry] = [entry for turn in finished for entry in _entries(turn)]
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
        match event.type:
            case "delta":
                self._answer(event.id.turn)
                self._text.append(_piece(event.data).text)
            case "reasoning":
                self._answer(event.id.turn)
                self._reasoning.append(_piece(event.data).text)
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

    def apply_all(self, turn: int, events: Iterable[tuple[str, bytes]]) -> None:
        """Apply many events of a turn, given as (type, data).

        Runs of `delta` or `reasoning` are decoded together, which costs a fraction of decoding each.
        """
        for event_type, run in groupby(events, itemgetter(0)):
            if event_type in {Delta.type, Reasoning.type}:
                self._answer(turn)
                pieces = _pieces(b"[%b]" % b",".join([data for _, data in run]))
                texts = self._text if event_type == Delta.type else self._reasoning
                texts += [piece.text for piece in pieces]
            else:
                for _, data in run:
                    self.apply(Event(EventId(turn, 0, 0), event_type, data))

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
    """Encode the messages of one finished turn for the log. A snapshot shows them in the same form."""
    return msgspec.json.encode(messages)
