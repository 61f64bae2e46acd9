"""A client of the protocol: a visitor, and a transcript that checks the order of events."""

import json
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import httpx

from midsentence.events import Entry, Event
from midsentence.fold import Fold
from midsentence.ids import EventId

_LINE_END = re.compile(rb"\r\n|\r|\n")


class SentEvent(NamedTuple):
    """One event as it was received."""

    id: str | None
    type: str
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Lines:
    """Lines that end in LF, CR or CRLF only; `str.splitlines` would break at U+2028."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that this chunk completes."""
        self._rest += chunk
        # A fast path: midsentence sends only LF, and some tests have many readers.
        if b"\r" not in self._rest:
            *lines, self._rest = self._rest.split(b"\n")
            return [line.decode() for line in lines]
        lines: list[bytes] = []
        while (end := _LINE_END.search(self._rest)) is not None:
            # A CR at the end of a chunk may be half of a CRLF.
            if end[0] == b"\r" and end.end() == len(self._rest):
                break
            lines.append(self._rest[: end.start()])
            self._rest = self._rest[end.end() :]
        return [line.decode() for line in lines]


class Parser:
    """A parser of event streams (HTML standard, 9.2.6). Ids are not carried over: a test sees which events have one."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._type = ""
        self._data: list[str] = []

    def feed(self, line: str) -> SentEvent | None:
        """The event that this line completes."""
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                self._id = value
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case _:
                pass  # a comment or retry
        return None

    def _dispatch(self) -> SentEvent | None:
        event = None
        if self._data:
            event = SentEvent(self._id, self._type or "message", "\n".join(self._data))
        elif self._id is not None:
            event = SentEvent(self._id, "", "")
        self._id, self._type, self._data = None, "", []
        return event


def parse(lines: Iterator[str]) -> Iterator[SentEvent]:
    parser = Parser()
    for line in lines:
        event = parser.feed(line)
        if event is not None:
            yield event


def lines_of(chunks: Iterator[bytes]) -> Iterator[str]:
    lines = Lines()
    for chunk in chunks:
        yield from lines.feed(chunk)


class HoleError(AssertionError):
    """An event is missing between two successive events."""


class DuplicateError(AssertionError):
    """An event was received twice."""


@dataclass
class Transcript:
    """What one reader has received over all its connections. Checks protocol 1.2 and folds as 8.15 says."""

    session_id: str
    events: list[SentEvent] = field(default_factory=list[SentEvent])
    cursor: str | None = None
    state: Any = None
    snapshots: int = 0
    keeps_events: bool = True  # whether `events` grows; the fold is kept in any case
    _fold: Fold = field(default_factory=Fold)
    _last: EventId | None = None

    def take(self, event: SentEvent) -> None:
        if self.keeps_events:
            self.events.append(event)
        if event.type == "state":
            self.state = event.json
        if event.id is None:
            return
        event_id = EventId.parse(event.id)
        assert event_id is not None, f"not an event id: {event.id}"
        if event.type == "snapshot":
            self.snapshots += 1
        elif self._last is not None:
            same_turn = event_id.turn == self._last.turn and event_id.seq == self._last.seq + 1
            next_turn = event_id.turn == self._last.turn + 1 and event_id.seq == 0
            if not same_turn and not next_turn:
                kind = (
                    DuplicateError if (event_id.turn, event_id.seq) <= (self._last.turn, self._last.seq) else HoleError
                )
                raise kind(f"{event_id} after {self._last}")
        self._last, self.cursor = event_id, event.id
        self._fold.apply(Event(event_id, event.type, event.data.encode()))

    @property
    def messages(self) -> list[Entry]:
        return self._fold.messages()

    def answer(self, turn: int = 1) -> str:
        return "".join(entry.text for entry in self.messages if entry.turn == turn and entry.role == "assistant")

    def end(self, turn: int = 1) -> str | None:
        return next((entry.end for entry in self.messages if entry.turn == turn and entry.role == "assistant"), None)


class Visitor:
    """A client with a cookie of its own."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.Client(base_url=base_url, timeout=httpx.Timeout(20))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def start(self, text: str, **headers: str) -> str:
        """Start a session and return its id."""
        response = self.http.post("/sessions", json={"text": text}, headers=headers)
        assert response.status_code == 202, response.text
        return response.json()["session_id"]

    def send(self, session_id: str, text: str, **headers: str) -> int:
        response = self.http.post(f"/sessions/{session_id}/messages", json={"text": text}, headers=headers)
        assert response.status_code == 202, response.text
        return response.json()["turn"]

    @contextmanager
    def events(
        self,
        session_id: str,
        cursor: str | None = None,
        *,
        until_end: bool = True,
        base_url: str | None = None,
        share: str | None = None,
    ) -> Generator[Iterator[SentEvent]]:
        headers = {} if cursor is None else {"Last-Event-ID": cursor}
        url = f"{base_url or ''}/sessions/{session_id}/events"
        query = {**({"until": "end"} if until_end else {}), **({} if share is None else {"share": share})}
        with self.http.stream("GET", url, headers=headers, params=query) as response:
            assert response.status_code in {200, 204}, f"{response.status_code}: {response.read().decode()}"
            yield parse(lines_of(response.iter_raw()))

    def read(
        self,
        session_id: str,
        into: Transcript | None = None,
        *,
        limit: int | None = None,
        base_url: str | None = None,
        share: str | None = None,
    ) -> Transcript:
        """Read from the transcript's cursor to the end, or `limit` events that have an id."""
        transcript = into or Transcript(session_id)
        with self.events(session_id, transcript.cursor, base_url=base_url, share=share) as events:
            for count, event in enumerate((event for event in events if self._has_id(transcript, event)), start=1):
                transcript.take(event)
                if count == limit:
                    break
        return transcript

    @staticmethod
    def _has_id(transcript: Transcript, event: SentEvent) -> bool:
        if event.id is None:
            transcript.take(event)
        return event.id is not None
