"""The events of a streamed response (OpenAI Responses): from the data of an event to typed fields."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from midsentence_worker.models import json_documents as documents
from midsentence_worker.models.byte_stream import ByteStream
from midsentence_worker.models.errors import StreamBrokenError
from midsentence_worker.models.event_stream import EventStreamParser, EventTooLongError

# An event may hold the whole response with all that it was asked.
LONGEST_EVENT_BYTES = 64 * 2**20

_DONE = b"[DONE]"


class ResponseEvent(NamedTuple):
    """`number` is the event's sequence_number, `fields` all of its fields, or none for a delta of a known shape."""

    type: str
    number: int | None
    delta: str = ""
    fields: Mapping[str, Any] = {}

    @property
    def is_error(self) -> bool:
        return self.type == "error" or bool(self.fields.get("error"))

    @property
    def response(self) -> Mapping[str, Any]:
        return documents.mapping(self.fields.get("response"))


class UnreadableEventError(StreamBrokenError):
    """An event is no JSON object. Nothing after it can be trusted to follow what came before."""


class _DeltaEvent(msgspec.Struct, frozen=True, gc=False):
    # Nearly all events are deltas, whose fields these are. Any other fails this decoder.
    type: str
    delta: str
    sequence_number: int


_decoder = msgspec.json.Decoder(_DeltaEvent)


def decode(data: bytes) -> ResponseEvent | None:
    """Decode one event. None stands for data that is JSON and no object. Raises UNREADABLE."""
    try:
        event = _decoder.decode(data)
    except documents.UNREADABLE:
        document = documents.parse(data)
        return tolerant_event(document) if documents.is_object(document) else None
    return ResponseEvent(event.type, event.sequence_number, event.delta)


def tolerant_event(document: Mapping[str, Any]) -> ResponseEvent:
    number = document.get("sequence_number")
    return ResponseEvent(
        documents.string(document.get("type")),
        number if isinstance(number, int) else None,
        documents.string(document.get("delta")),
        document,
    )


class ResponseEvents:
    """The events of one connection."""

    def __init__(self, source: ByteStream) -> None:
        self.content_type = source.content_type
        self._source = source
        self._parser = EventStreamParser(LONGEST_EVENT_BYTES)
        self._ahead: list[ResponseEvent] = []
        # Why the stream ended early; raised when the events before it were read.
        self._failure: StreamBrokenError | None = None
        self._is_done = False

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
        while not self._is_done and self._failure is None:
            data = await self._source.read()
            if not data:
                break
            if events := self._decoded(data):
                return events
        if self._failure is not None:
            raise self._failure
        return []

    async def aclose(self) -> None:
        await self._source.aclose()

    def _decoded(self, data: bytes) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        try:
            for _, event_data in self._parser.feed(data):
                if event_data.startswith(_DONE):
                    self._is_done = True
                    break
                if (event := decode(event_data)) is not None:
                    events.append(event)
        except (EventTooLongError, *documents.UNREADABLE) as error:
            self._failure = UnreadableEventError(str(error))
        return events
