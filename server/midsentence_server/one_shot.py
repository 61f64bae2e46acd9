"""GET /push: question and answer on one connection (protocol, section 10)."""

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from midsentence.errors import SessionNotFoundError
from midsentence.events import Delta, End, Event, Failure, Snapshot, decode
from midsentence.ids import EventId
from midsentence.log import Access
from midsentence.unreadable import UNREADABLE, passed_over
from midsentence_server import requests
from midsentence_server.errors import HttpError
from midsentence_server.owner_cookie import new_owner
from midsentence_server.relay.dialects import HEADERS, encoded
from midsentence_server.relay.event_stream import EventStream
from midsentence_server.services import services_of

_END = "[END]"
# A piece of text that equals [END] would end the answer in the client, so it is sent as two events: these many
# characters, then the rest. Both halves have the piece's id; the first has this mark behind it, so that a client that
# reconnects in between gets the second half.
_FIRST_HALF_CHARS = 3
_FIRST_HALF_MARK = "+"
# The id of a session's first event, which is the question.
_QUESTION = EventId(1, 0, 0)
_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}
# U+2028 is a line break to Python's splitlines and none to an event stream (HTML standard, 9.2.5).
_LINE = re.compile(r"\r\n|\r|\n")

_delta = msgspec.json.Decoder(Delta).decode
_end = msgspec.json.Decoder(End).decode
_snapshot = msgspec.json.Decoder(Snapshot).decode


async def push(request: Request) -> Response:
    """GET /push?param=…&model=…"""
    services = services_of(request)
    if not requests.accepts_events(request):
        raise HttpError(406, "not_acceptable", "This address answers text/event-stream alone.", _ANY_ORIGIN)
    capability = request.headers.get("last-event-id")
    if capability:
        return await _resumed(request, capability)
    text = request.query_params.get("param", "")
    if not text.strip():
        raise HttpError(400, "missing_param", "Ask with ?param=your question.", _ANY_ORIGIN)
    requests.check_text(text, services.settings)
    if services.inspection.trouble is not None:
        await services.inspection.require()
    owner = await services.owner_cookies.owner(request) or new_owner()
    model = request.query_params.get("model") or None
    session_id = (await services.log.start(owner, text, kind="push", model=model)).session_id
    # From the question on, whose id the client gets before the first token. Without a cursor, a model that is faster
    # than this request would make the stream begin with a snapshot, which OneShot takes for a lost position.
    dialect = OneShot(session_id, starts_after=_QUESTION)
    return EventStream(services.hub, services.settings, session_id, _QUESTION, dialect, until_end=True)


async def _resumed(request: Request, capability: str) -> Response:
    services = services_of(request)
    session_id, _, position = capability.partition("/")
    cursor = EventId.parse(position.removesuffix(_FIRST_HALF_MARK))
    dialect = OneShot(session_id, half_sent=cursor if position.endswith(_FIRST_HALF_MARK) else None)
    try:
        if cursor is not None:
            view = await services.log.read(session_id, cursor)
            if dialect.allows(view.access):
                return EventStream(services.hub, services.settings, session_id, cursor, dialect, until_end=True)
    except SessionNotFoundError:
        pass
    # Only 204 stops an EventSource from reconnecting, and without a valid id it would ask the question again.
    return Response(status_code=204, headers={"Cache-Control": "no-store", **_ANY_ORIGIN})


class OneShot:
    """Text alone for `onmessage`, and `[END]` (protocol, section 10)."""

    is_native = False
    ping = b": ping\n\n"
    headers = {**HEADERS, **_ANY_ORIGIN}  # noqa: RUF012 - never changed
    raw_headers = encoded(headers)

    def __init__(
        self, session_id: str, *, starts_after: EventId | None = None, half_sent: EventId | None = None
    ) -> None:
        """`half_sent`: the client has the first half of this piece, which equals [END]."""
        self._session_id = session_id
        self.is_finished = False
        # Sent before anything from the log.
        self._prefix = b""
        if starts_after is not None:
            self._prefix = self._id_only(starts_after)
        elif half_sent is not None:
            self._prefix = self._event(half_sent, _END[_FIRST_HALF_CHARS:])

    def allows(self, access: Access) -> bool:
        # An event's id is a capability for the answer to a /push, and must not open any other session.
        return access.kind == "push"

    def render(self, wire: bytes) -> bytes:
        prefix, self._prefix = self._prefix, b""
        return prefix + b"".join(
            self._render(block + b"\n\n") for block in wire.split(b"\n\n")[:-1] if block.startswith(b"id: ")
        )

    def _render(self, frame: bytes) -> bytes:
        for event in decode(frame):
            try:
                return self._rendered(event)
            except UNREADABLE:
                passed_over(self._session_id, f"event {event.type}")
                return self._id_only(event.id)
        return b""

    def _rendered(self, event: Event) -> bytes:
        match event.type:
            case "delta":
                return self._text(event.id, _delta(event.data).text)
            case "snapshot":
                return self._whole_answer(event.id, _snapshot(event.data))
            case "end":
                self.is_finished = True
                error = self._error(event.data)
                return (self._failed(error) if error else b"") + self._event(event.id, _END)
            case "reset":
                return b"id: %b\nevent: reset\ndata: %b\n\n" % (self._name(event.id), event.data)
            case _:
                return self._id_only(event.id)

    def _error(self, data: bytes) -> Failure | None:
        try:
            return _end(data).error
        except UNREADABLE:
            # Its type alone says that the turn is done.
            passed_over(self._session_id, "event end")
            return None

    def _whole_answer(self, event_id: EventId, snapshot: Snapshot) -> bytes:
        """The answer from its beginning, where the client's position in it is unknown."""
        answer = next((entry for entry in snapshot.messages if entry.role == "assistant"), None)
        rendered = self._id_only(event_id)
        if answer is None:
            return rendered
        if answer.text:
            rendered = b'event: reset\ndata: {"attempt":0,"why":"the place in the answer was lost"}\n\n'
            rendered += self._text(event_id, answer.text)
        if answer.end is not None:
            self.is_finished = True
            error = answer.error
            rendered += (self._failed(error) if isinstance(error, Failure) else b"") + self._event(event_id, _END)
        return rendered

    def _id_only(self, event_id: EventId) -> bytes:
        # Without data it is no event for the page, but the client keeps the id and does not ask again at a reconnect.
        return b"id: %b\n\n" % self._name(event_id)

    def _text(self, event_id: EventId, text: str) -> bytes:
        if text != _END:
            return self._event(event_id, text)
        first = self._event(event_id, text[:_FIRST_HALF_CHARS], _FIRST_HALF_MARK)
        return first + self._event(event_id, text[_FIRST_HALF_CHARS:])

    def _event(self, event_id: EventId, text: str, mark: str = "") -> bytes:
        lines = "".join(f"data: {line}\n" for line in _LINE.split(text))
        return b"id: %b%b\n%b\n" % (self._name(event_id), mark.encode(), lines.encode())

    def _failed(self, error: Failure) -> bytes:
        return b"event: failed\ndata: %b\n\n" % msgspec.json.encode(error)

    def _name(self, event_id: EventId) -> bytes:
        return f"{self._session_id}/{event_id}".encode()
