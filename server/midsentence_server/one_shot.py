"""One shot: GET /push asks and answers on one connection (protocol, section 10)."""

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from midsentence.errors import SessionNotFoundError
from midsentence.events import Delta, End, Failure, Snapshot, decode
from midsentence.ids import EventId
from midsentence.log import Access
from midsentence_server import requests
from midsentence_server.errors import Refusal
from midsentence_server.owner_cookie import new_owner
from midsentence_server.relay.dialects import HEADERS
from midsentence_server.relay.event_stream import EventStream
from midsentence_server.services import services

_END = "[END]"
# Where the model itself says [END]: so many characters go ahead in an event of their own, whose id has the mark below.
_HEAD_CHARS = 3
_HALF = "+"
# What was asked: the first event of the session.
_MESSAGE = EventId(1, 0, 0)
_OPEN_TO_ALL = {"Access-Control-Allow-Origin": "*"}
# U+2028 is a line break to Python's splitlines and none to an event stream (HTML standard, 9.2.5).
_LINE = re.compile(r"\r\n|\r|\n")

_delta = msgspec.json.Decoder(Delta).decode
_end = msgspec.json.Decoder(End).decode
_snapshot = msgspec.json.Decoder(Snapshot).decode


async def push(request: Request) -> Response:
    """GET /push?param=…"""
    at = services(request)
    if not requests.accepts_events(request):
        raise Refusal(406, "not_acceptable", "This address answers text/event-stream alone.", _OPEN_TO_ALL)
    capability = request.headers.get("last-event-id")
    if capability:
        return await _resumed(request, capability)
    text = request.query_params.get("param", "")
    if not text.strip():
        raise Refusal(400, "missing_param", "Ask with ?param=your question.", _OPEN_TO_ALL)
    requests.check_text(text, at.settings)
    owner = await at.visitors.owner(request) or new_owner()
    session_id = (await at.log.start(owner, text, kind="push")).session_id
    # From the message on, whose id the client learns before there is any token; a snapshot would take a model that was
    # faster than we are for an answer whose place was lost.
    dialect = OneShot(session_id, begins_at=_MESSAGE)
    return EventStream(at.hub, at.settings, session_id, _MESSAGE, dialect, until_end=True)


async def _resumed(request: Request, capability: str) -> Response:
    at = services(request)
    session_id, _, place = capability.partition("/")
    cursor = EventId.parse(place.removesuffix(_HALF))
    dialect = OneShot(session_id, owes_half=cursor if place.endswith(_HALF) else None)
    try:
        if cursor is not None:
            view = await at.log.read(session_id, cursor)
            if dialect.allows(view.access):
                return EventStream(at.hub, at.settings, session_id, cursor, dialect, until_end=True)
    except SessionNotFoundError:
        pass
    # An EventSource that is told anything but 204 asks again, and what it would ask is the question.
    return Response(status_code=204, headers={"Cache-Control": "no-store", **_OPEN_TO_ALL})


class OneShot:
    """Bare text for `onmessage`, and `[END]`."""

    is_native = False
    ping = b": ping\n\n"
    headers = {**HEADERS, **_OPEN_TO_ALL}  # noqa: RUF012 - read alone

    def __init__(self, session_id: str, *, begins_at: EventId | None = None, owes_half: EventId | None = None) -> None:
        self._session_id = session_id
        self.is_finished = False
        # Goes ahead of all that the log holds.
        self._ahead = b""
        if begins_at is not None:
            self._ahead = self._learnt(begins_at)
        elif owes_half is not None:
            self._ahead = self._event(owes_half, _END[_HEAD_CHARS:])

    def allows(self, access: Access) -> bool:
        # The id of an event opens the answer that was asked for here, and no session of anybody's.
        return access.kind == "push"

    def render(self, wire: bytes) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead + b"".join(
            self._render(block + b"\n\n") for block in wire.split(b"\n\n")[:-1] if block.startswith(b"id: ")
        )

    def _render(self, frame: bytes) -> bytes:
        (event,) = decode(frame)
        match event.type:
            case "delta":
                return self._text(event.id, _delta(event.data).text)
            case "snapshot":
                return self._caught_up(event.id, _snapshot(event.data))
            case "end":
                self.is_finished = True
                error = _end(event.data).error
                return (self._failed(error) if error else b"") + self._event(event.id, _END)
            case "reset":
                return b"id: %b\nevent: reset\ndata: %b\n\n" % (self._name(event.id), event.data)
            case _:
                return self._learnt(event.id)

    def _caught_up(self, event_id: EventId, snapshot: Snapshot) -> bytes:
        """The answer from its beginning, since the place in it was lost."""
        answer = next((entry for entry in snapshot.messages if entry.role == "assistant"), None)
        rendered = self._learnt(event_id)
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

    def _learnt(self, event_id: EventId) -> bytes:
        # No data, hence no event in the page; but the id is learnt, and a reconnect asks nothing twice.
        return b"id: %b\n\n" % self._name(event_id)

    def _text(self, event_id: EventId, text: str) -> bytes:
        if text != _END:
            return self._event(event_id, text)
        first = self._event(event_id, text[:_HEAD_CHARS], _HALF)
        return first + self._event(event_id, text[_HEAD_CHARS:])

    def _event(self, event_id: EventId, text: str, mark: str = "") -> bytes:
        lines = "".join(f"data: {line}\n" for line in _LINE.split(text))
        return b"id: %b%b\n%b\n" % (self._name(event_id), mark.encode(), lines.encode())

    def _failed(self, error: Failure) -> bytes:
        return b"event: failed\ndata: %b\n\n" % msgspec.json.encode(error)

    def _name(self, event_id: EventId) -> bytes:
        return f"{self._session_id}/{event_id}".encode()
