"""The events of a streamed response (OpenAI Responses): from the data of an event to typed fields.

The rules:

- The type of an event stands in its data or, where that has none, in the event stream's own field.
- A field of another type than the documented one counts for what can be read of it, and for nothing otherwise.
- Data that is no JSON object is passed over. It is kept, since it may be all that comes.
- An error may be an object, an array, or the data of an event `error`. Each becomes an event of the type `error`.
- A body that is no event stream is the whole response, or an error. It becomes the event that would have ended it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from midsentence_worker.models import content_parts, reported_errors
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models.byte_stream import ByteStream
from midsentence_worker.models.errors import StreamBrokenError
from midsentence_worker.models.event_stream import EventStreamParser, EventTooLongError
from midsentence_worker.models.plain_body import PlainBody

# An event may hold the whole response with all that it was asked.
LONGEST_EVENT_BYTES = 64 * 2**20
# Beyond this a number would not survive a provider that is written in JavaScript.
_LAST_NUMBER = 2**53

_DONE = b"[DONE]"


class ResponseEvent(NamedTuple):
    """`number` is the event's sequence_number, `fields` all of its fields, or none for a delta of a known shape."""

    type: str
    number: int | None
    delta: str = ""
    fields: Mapping[str, Any] = {}

    @property
    def is_error(self) -> bool:
        return self.type == "error"

    @property
    def response(self) -> Mapping[str, Any]:
        return documents.mapping(self.fields.get("response"))


class UnreadableEventError(StreamBrokenError):
    """An event is no JSON object. Nothing after it can be trusted to follow what came before."""


class _DeltaEvent(msgspec.Struct, frozen=True, gc=False):
    # Nearly all events are deltas, whose fields these are. Any other fails this decoder.
    type: str
    delta: str
    sequence_number: Annotated[int, msgspec.Meta(ge=0, le=_LAST_NUMBER)]
    error: None = None


documented_decoder = msgspec.json.Decoder(_DeltaEvent)


def decode(event_type: bytes, data: bytes) -> ResponseEvent | None:
    """Decode one event. None stands for data that is no object and cannot be meant as one.

    Raises UNREADABLE for data that begins like an object or an array and is none.
    """
    if event_type not in reported_errors.ERROR_EVENTS:
        try:
            event = documented_decoder.decode(data)
        except documents.UNREADABLE:
            pass
        else:
            if event.type[:9] == "response.":
                return ResponseEvent(event.type, event.sequence_number, event.delta)
    return decode_any(event_type, documents.stripped(data))


def decode_any(event_type: bytes, data: bytes) -> ResponseEvent | None:
    """Decode an event of any shape. Raises UNREADABLE like `decode`."""
    try:
        document = documents.parse(data)
    except documents.UNREADABLE:
        document = data.decode(errors="replace")
        if event_type not in reported_errors.ERROR_EVENTS and not reported_errors.ERROR_TEXT.match(document):
            if data[:1] in {b"{", b"["}:
                raise
            return None
        event_type = b"error"
    is_error = event_type in reported_errors.ERROR_EVENTS
    if is_error and not documents.is_object(document):
        return ResponseEvent("error", None, fields={"error": document})
    fields = reported_errors.error_or_first(document)
    name = "error" if is_error else event_type.decode(errors="replace")
    return tolerant_event(fields, name) if documents.is_object(fields) else None


def decode_lines(event_type: bytes, data: bytes) -> list[ResponseEvent]:
    """Decode an event that is no JSON as a whole, line by line: some servers end no event with a blank line.

    Raises UNREADABLE where a line is none either.
    """
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) < 2:
        raise ValueError("not several lines")
    # The type of each stands in its data; that of the event is the last one's.
    return [
        event for line in lines if (event := decode(b"" if line is not lines[-1] else event_type, line)) is not None
    ]


def decode_body(body: bytes) -> ResponseEvent | None:
    """The event that a body stands for which is no event stream. None stands for a body of another kind."""
    try:
        document = documents.parse(body)
    except documents.UNREADABLE:
        return None
    parts = [part for part in documents.array(document) or [document] if documents.is_object(part)]
    fields: Mapping[str, Any] = documents.mapping(parts[0]) if parts else {}
    if documents.word(fields.get("object")) == "response" or documents.is_array(fields.get("output")):
        status = documents.word(fields.get("status")) or "completed"
        return ResponseEvent(f"response.{status}", None, fields={"response": fields})
    return tolerant_event(fields, "") if reported_errors.is_error(fields) else None


def tolerant_event(fields: Mapping[str, Any], event_type: str) -> ResponseEvent:
    """Take what can be read of an event."""
    kind = documents.string(fields.get("type")) or event_type
    is_ours = kind.startswith("response.") and not fields.get("error")
    if event_type == "error" or (not is_ours and reported_errors.is_error(fields)):
        kind = "error"
    number = fields.get("sequence_number")
    delta = content_parts.read(fields.get("delta") or (fields.get("text") if kind.endswith(".delta") else None))
    is_number = isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _LAST_NUMBER
    return ResponseEvent(kind, number if is_number else None, delta.text + delta.thought, fields)


class ResponseEvents:
    """The events of one connection."""

    def __init__(self, source: ByteStream) -> None:
        self.content_type = source.content_type
        # The provider ended the stream by `[DONE]`.
        self.is_done = False
        # What came first of that which says nothing about a response.
        self.unread: object = None
        self._source = source
        self._parser = EventStreamParser(LONGEST_EVENT_BYTES)
        self._ahead: list[ResponseEvent] = []
        # The bytes so far, until the first event.
        self._body: PlainBody | None = PlainBody(LONGEST_EVENT_BYTES)
        # Why the stream ended early; raised when the events before it were read.
        self._failure: StreamBrokenError | None = None

    def put_back(self, events: list[ResponseEvent]) -> None:
        """Return these events again at the next `read`."""
        self._ahead = events

    async def read(self) -> list[ResponseEvent]:
        """Return the next events, or none at the end of the stream.

        Raises StreamStalledError and StreamBrokenError.
        """
        if self._ahead:
            events, self._ahead = self._ahead, []
            return events
        while not self.is_done and self._failure is None:
            data = await self._source.read()
            if not data:
                return self._of_rest() or self._of_body()
            if events := self._decoded(data):
                return events
        if self._failure is not None:
            raise self._failure
        return []

    def pace(self) -> None:
        """See `ByteStream.pace`."""
        self._source.pace()

    async def aclose(self) -> None:
        await self._source.aclose()

    def _decoded(self, data: bytes) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        try:
            sent = self._parser.feed(data)
            if self._body is not None:
                if sent:
                    self._body = None
                else:
                    self._body.add(data)
            for event_type, event_data in sent:
                if event_data[:1] != b"{" and event_data.strip().startswith(_DONE):
                    self.is_done = True
                    break
                if found := _decoded_event(event_type, event_data):
                    events += found
                    if self.unread is None and not found[0].type.startswith("response."):
                        self.unread = found[0].fields
                elif self.unread is None:
                    self.unread = event_data.decode(errors="replace")
        except (EventTooLongError, *documents.UNREADABLE) as error:
            self._failure = UnreadableEventError(str(error))
        return events

    def _of_rest(self) -> list[ResponseEvent]:
        """The events that the end of the stream left without their blank line, if they are whole."""
        rest, self._parser = self._parser.rest(), EventStreamParser(LONGEST_EVENT_BYTES)
        if rest is None:
            return []
        event_type, data = rest
        if data.strip().startswith(_DONE):
            self.is_done = True
            return []
        try:
            events = _decoded_event(event_type, data)
        except documents.UNREADABLE:
            return []
        self._body = None
        return events

    def _of_body(self) -> list[ResponseEvent]:
        body, self._body = bytes(self._body or b""), None
        if not body:
            return []
        event = decode_body(body)
        if event is None:
            self.unread = body.decode(errors="replace")
            return []
        return [event]


def _decoded_event(event_type: bytes, data: bytes) -> list[ResponseEvent]:
    """Decode an event, or the several events on its lines. Raises UNREADABLE."""
    try:
        event = decode(event_type, data)
    except documents.UNREADABLE:
        if b"\n" not in data:
            raise
        return decode_lines(event_type, data)
    return [] if event is None else [event]
