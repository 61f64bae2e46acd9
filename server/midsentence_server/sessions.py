"""The native interface to sessions and models (protocol, sections 4 to 9): one function a route."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from midsentence.errors import SessionNotFoundError
from midsentence.ids import EventId
from midsentence.log import Submitted
from midsentence_server import reply_headers, requests
from midsentence_server.errors import HttpError
from midsentence_server.relay.dialects import Native, Shared
from midsentence_server.relay.event_stream import EventStream
from midsentence_server.services import Services, services_of
from midsentence_server.stop_waiter import observed_stop


async def create(request: Request) -> Response:
    """POST /sessions"""
    services = services_of(request)
    requests.check_origin(request, services.settings)
    key = requests.idempotency_key(request)
    asked = await requests.read_message(request, services.settings, requests.FirstMessage)
    if services.inspection.trouble is not None:
        await services.inspection.require()
    owner = await services.owner_cookies.owner_or_new(request)
    secret = await services.owner_cookies.secret()
    submitted = await services.log.start(owner, asked.text, key=key, secret=secret, model=asked.model)
    return reply_headers.add_to(request.scope, await _accepted(services, owner, submitted))


async def submit(request: Request) -> Response:
    """POST /sessions/{id}/messages"""
    services = services_of(request)
    requests.check_origin(request, services.settings)
    key = requests.idempotency_key(request)
    asked = await requests.read_message(request, services.settings, requests.FurtherMessage)
    if services.inspection.trouble is not None:
        await services.inspection.require()
    owner = await services.owner_cookies.required(request)
    submitted = await services.log.submit(
        _id(request), owner, asked.text, key=key, on_busy=asked.on_busy, parent=asked.parent, model=asked.model
    )
    return await _accepted(services, owner, submitted)


async def _accepted(services: Services, owner: str, submitted: Submitted) -> Response:
    await services.session_lists.note(owner, submitted.session_id)
    url = f"/sessions/{submitted.session_id}/events"
    body = {"session_id": submitted.session_id, "turn": submitted.turn, "events_url": url}
    return _json(body, status=202, headers={"Location": url})


async def events(request: Request) -> Response:
    """GET /sessions/{id}/events"""
    if not requests.accepts_events(request):
        raise HttpError(406, "not_acceptable", "This address answers text/event-stream alone.")
    services = services_of(request)
    dialect = await _dialect(request)
    query = requests.query(request)
    cursor = request.headers.get("last-event-id") or query.get("last_event_id", "")
    until_end = query.get("until") == "end"
    known = EventId.parse(cursor) if cursor else None
    return EventStream(services.hub, services.settings, _id(request), known, dialect, until_end=until_end)


async def stop(request: Request) -> Response:
    """POST /sessions/{id}/stop"""
    services = services_of(request)
    requests.check_origin(request, services.settings)
    asked = await requests.read_optional_body(request, services.settings, requests.Stop)
    owner = await services.owner_cookies.required(request)
    stopped = await observed_stop(services.hub, _id(request), owner, asked.turn)
    status = 202 if stopped.reason is None else 200
    return _json({"session_id": _id(request), "turn": stopped.turn, "reason": stopped.reason}, status)


async def show(request: Request) -> Response:
    """GET /sessions/{id}"""
    services = services_of(request)
    dialect = await _dialect(request)
    view = await services.log.read(_id(request))
    if not dialect.allows(view.access):
        raise SessionNotFoundError(_id(request))
    return _json({**msgspec.to_builtins(view.snapshot(_id(request))), "cursor": str(view.top)})


async def rename(request: Request) -> Response:
    """PATCH /sessions/{id}"""
    services = services_of(request)
    requests.check_origin(request, services.settings)
    title = requests.normalized_title(await requests.read_body(request, services.settings, requests.Rename))
    await services.log.rename(_id(request), await services.owner_cookies.required(request), title)
    return _json({"session_id": _id(request), "title": title})


async def share(request: Request) -> Response:
    """POST /sessions/{id}/share"""
    services = services_of(request)
    requests.check_origin(request, services.settings)
    await requests.read_optional_body(request, services.settings, requests.Share)
    capability = await services.log.share(_id(request), await services.owner_cookies.required(request))
    url = f"/sessions/{_id(request)}/events?share={capability}"
    return _json({"session_id": _id(request), "share": capability, "events_url": url})


async def unshare(request: Request) -> Response:
    """DELETE /sessions/{id}/share"""
    services = services_of(request)
    requests.check_origin(request, services.settings)
    await services.log.unshare(_id(request), await services.owner_cookies.required(request))
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


async def delete(request: Request) -> Response:
    """DELETE /sessions/{id}"""
    services = services_of(request)
    requests.check_origin(request, services.settings)
    await services.log.delete(_id(request), await services.owner_cookies.required(request))
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


async def index(request: Request) -> Response:
    """GET /sessions"""
    services = services_of(request)
    owner = await services.owner_cookies.owner(request)
    listed = await services.owners.sessions(owner) if owner is not None else []
    return _json({"sessions": [session._asdict() for session in listed]})


async def models(request: Request) -> Response:
    """GET /models"""
    names = services_of(request).settings.offered_models
    return _json({"models": [{"name": name, "default": name == names[0]} for name in names]})


async def _dialect(request: Request) -> Native:
    """The right by which this client may read. Raises HttpError (404) without a cookie and without a share link."""
    capability = requests.query(request).get("share")
    if capability is not None:
        return Shared(capability)
    return Native(await services_of(request).owner_cookies.required(request))


def _id(request: Request) -> str:
    return str(request.path_params["session_id"])


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(body),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )
