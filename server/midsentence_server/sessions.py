"""The native interface to sessions (protocol, sections 4 to 9): one function a route."""

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.ids import EventId
from midsentence.log import Submitted
from midsentence_server import requests
from midsentence_server.errors import Refusal
from midsentence_server.owner_cookie import new_owner
from midsentence_server.relay.dialects import Native, Shared
from midsentence_server.relay.event_stream import EventStream
from midsentence_server.services import Services, services
from midsentence_server.stop_waiter import observed_stop

_logger = structlog.get_logger()


async def start(request: Request) -> Response:
    """POST /sessions"""
    at = services(request)
    requests.check_origin(request, at.settings)
    key = requests.idempotency_key(request)
    asked = await requests.ask(request, at.settings, requests.Ask)
    owner = await at.visitors.owner(request)
    is_new = owner is None
    owner = owner or new_owner()
    submitted = await at.log.start(owner, asked.text, key=key, secret=await at.visitors.secret())
    response = await _accepted(at, owner, submitted)
    if is_new:
        await at.visitors.remember(request, response, owner)
    return response


async def say(request: Request) -> Response:
    """POST /sessions/{id}/messages"""
    at = services(request)
    requests.check_origin(request, at.settings)
    key = requests.idempotency_key(request)
    asked = await requests.ask(request, at.settings, requests.Say)
    owner = await at.visitors.known(request)
    submitted = await at.log.submit(
        _id(request), owner, asked.text, key=key, on_busy=asked.on_busy, parent=asked.parent
    )
    return await _accepted(at, owner, submitted)


async def _accepted(at: Services, owner: str, submitted: Submitted) -> Response:
    try:
        await at.owners.note(owner, submitted.session_id)
    except StoreUnavailableError as error:
        # The list is a hint; the message is in the log, and a refusal now would say that it is not.
        _logger.warning("session_not_listed", session=submitted.session_id, error=str(error))
    url = f"/sessions/{submitted.session_id}/events"
    body = {"session_id": submitted.session_id, "turn": submitted.turn, "events_url": url}
    return _json(body, status=202, headers={"Location": url})


async def events(request: Request) -> Response:
    """GET /sessions/{id}/events"""
    if not requests.accepts_events(request):
        raise Refusal(406, "not_acceptable", "This address answers text/event-stream alone.")
    at = services(request)
    dialect = await _dialect(request)
    cursor = request.headers.get("last-event-id") or request.query_params.get("last_event_id", "")
    until_end = request.query_params.get("until") == "end"
    return EventStream(at.hub, at.settings, _id(request), EventId.parse(cursor), dialect, until_end=until_end)


async def stop(request: Request) -> Response:
    """POST /sessions/{id}/stop"""
    at = services(request)
    requests.check_origin(request, at.settings)
    asked = await requests.optional_body(request, at.settings, requests.Stop)
    owner = await at.visitors.known(request)
    stopped = await observed_stop(at.hub, _id(request), owner, asked.turn)
    status = 202 if stopped.reason is None else 200
    return _json({"session_id": _id(request), "turn": stopped.turn, "reason": stopped.reason}, status)


async def show(request: Request) -> Response:
    """GET /sessions/{id}"""
    at = services(request)
    dialect = await _dialect(request)
    view = await at.log.read(_id(request))
    if not dialect.allows(view.access):
        raise SessionNotFoundError(_id(request))
    return _json({**msgspec.to_builtins(view.snapshot(_id(request))), "cursor": str(view.top)})


async def rename(request: Request) -> Response:
    """PATCH /sessions/{id}"""
    at = services(request)
    requests.check_origin(request, at.settings)
    title = requests.title(await requests.body(request, at.settings, requests.Rename))
    await at.log.rename(_id(request), await at.visitors.known(request), title)
    return _json({"session_id": _id(request), "title": title})


async def share(request: Request) -> Response:
    """POST /sessions/{id}/share"""
    at = services(request)
    requests.check_origin(request, at.settings)
    await requests.optional_body(request, at.settings, requests.Share)
    capability = await at.log.share(_id(request), await at.visitors.known(request))
    url = f"/sessions/{_id(request)}/events?share={capability}"
    return _json({"session_id": _id(request), "share": capability, "events_url": url})


async def unshare(request: Request) -> Response:
    """DELETE /sessions/{id}/share"""
    at = services(request)
    requests.check_origin(request, at.settings)
    await at.log.unshare(_id(request), await at.visitors.known(request))
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


async def delete(request: Request) -> Response:
    """DELETE /sessions/{id}"""
    at = services(request)
    requests.check_origin(request, at.settings)
    await at.log.delete(_id(request), await at.visitors.known(request))
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


async def mine(request: Request) -> Response:
    """GET /sessions"""
    at = services(request)
    owner = await at.visitors.owner(request)
    listed = await at.owners.sessions(owner) if owner is not None else []
    return _json({"sessions": [session._asdict() for session in listed]})


async def _dialect(request: Request) -> Native:
    """How, and by what right, a session is read. Raises Refusal (404) to a stranger."""
    capability = request.query_params.get("share")
    if capability is not None:
        return Shared(capability)
    return Native(await services(request).visitors.known(request))


def _id(request: Request) -> str:
    return str(request.path_params["session_id"])


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(body),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )
