"""Checks of a request's origin, headers and body."""

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from midsentence.log import OnBusy
from midsentence.settings import Settings
from midsentence_server.errors import HttpError

# A slow body holds a connection and its memory (a slow-body attack); an honest one of the allowed size needs far less.
_BODY_SECONDS = 30
_DISCARDED_BYTES = 8 << 20
_TITLE_CHARS = 200
# The rest of a refused body is still arriving, so the connection cannot carry another request.
_CLOSE = {"Connection": "close"}
_KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_EVENTS = "text/event-stream"
_NEVER = re.compile(r"(^|;)\s*q=0(\.0*)?\s*($|;)")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class FirstMessage(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    model: str | None = None


class FurtherMessage(FirstMessage):
    on_busy: OnBusy = "queue"
    parent: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Share(msgspec.Struct, forbid_unknown_fields=True):
    """It has no fields yet."""


class Stop(msgspec.Struct, forbid_unknown_fields=True):
    turn: Annotated[int, msgspec.Meta(ge=1, le=10**11)] | None = None


class Rename(msgspec.Struct, forbid_unknown_fields=True):
    title: str


MessageBody = TypeVar("MessageBody", bound=FirstMessage)
Body = TypeVar("Body", bound=msgspec.Struct)


def check_origin(request: Request, settings: Settings) -> None:
    """Raises HttpError (403) where a page of another site sent the owner's cookie: CSRF (protocol 2.3)."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site") == "cross-site" and origin not in settings.allowed_origins:
        raise _foreign_origin()
    # The same text is the same host and port; without a port, it is that of the scheme in both.
    if (
        origin is None
        or origin in settings.allowed_origins
        or origin.partition("://")[2] == request.headers.get("host")
    ):
        return
    try:
        theirs, ours = urlsplit(origin), request.url
        same = (theirs.hostname, theirs.port or _DEFAULT_PORTS.get(theirs.scheme)) == (
            ours.hostname,
            # A proxy that terminates TLS may not pass the scheme on, so schemes are not compared; the default port is
            # that of their scheme.
            ours.port or _DEFAULT_PORTS.get(theirs.scheme),
        )
    except ValueError:
        same = False
    if not same:
        raise _foreign_origin()


def _foreign_origin() -> HttpError:
    return HttpError(
        403,
        "foreign_origin",
        "A page of another origin may not do this: name its origin in MIDSENTENCE_ALLOWED_ORIGINS, or let the proxy in "
        "front of this server pass Host on.",
    )


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise HttpError(400, "invalid_idempotency_key", "Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return key


async def read_message(request: Request, settings: Settings, kind: type[MessageBody]) -> MessageBody:
    """Read the message that a POST carries. Raises HttpError (400, 408, 413, 415, 422)."""
    message = await read_body(request, settings, kind)
    check_text(message.text, settings)
    return message


async def read_body(request: Request, settings: Settings, kind: type[Body]) -> Body:
    """Read a JSON body of the given shape. Raises HttpError (400, 408, 413, 415, 422)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpError(415, "unsupported_media_type", "Send the body as Content-Type: application/json.")
    content = await _content(request, settings.max_body_bytes)
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise HttpError(422, "invalid_body", f"The body has not the form that this address takes: {error}.") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise HttpError(400, "invalid_json", f"The body is not JSON: {error}.") from error


async def read_optional_body(request: Request, settings: Settings, kind: type[Body]) -> Body:
    """As `read_body`, of a request that may have no body."""
    empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    return kind() if empty else await read_body(request, settings, kind)


def check_text(text: str, settings: Settings) -> None:
    if not text.strip():
        raise HttpError(422, "invalid_body", "`text` must say something.")
    if len(text) > settings.max_text_chars:
        raise HttpError(
            413,
            "text_too_long",
            f"`text` may have {settings.max_text_chars} characters at the most; it has {len(text)}.",
        )


def normalized_title(rename: Rename) -> str:
    """The title as it is stored (protocol 6.1). Raises HttpError (422)."""
    title = " ".join(rename.title.split())
    if not title:
        raise HttpError(422, "invalid_body", "`title` must say something.")
    if len(title) > _TITLE_CHARS:
        raise HttpError(
            422,
            "invalid_body",
            f"`title` may have {_TITLE_CHARS} characters at the most; it has {len(title)}.",
        )
    return title


async def _content(request: Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes.

    More is read and discarded before the error, up to a limit: a proxy that is still writing the body takes an early
    answer for a broken connection, and answers 502 instead of our 413.
    """
    content = bytearray()
    received = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                received += len(chunk)
                if received <= limit:
                    content += chunk
                elif received > limit + _DISCARDED_BYTES:
                    break
    except TimeoutError as error:
        sentence = f"The body did not arrive within {_BODY_SECONDS} s."
        raise HttpError(408, "body_too_slow", sentence, _CLOSE) from error
    except ClientDisconnect as error:
        raise HttpError(400, "invalid_json", "The connection closed in the middle of the body.") from error
    if received > limit:
        raise HttpError(413, "body_too_large", f"The body may have {limit} bytes at the most.", _CLOSE)
    return bytes(content)


def query(request: Request) -> Mapping[str, str]:
    """The parameters of the query, which is parsed only where there is one: thousands may reconnect at once."""
    return request.query_params if request.scope["query_string"] else {}


def accepts_events(request: Request) -> bool:
    """Whether `Accept` includes text/event-stream (RFC 9110, 12.5.1)."""
    # What an EventSource sends.
    if request.headers.get("accept", "") in {"", _EVENTS}:
        return True
    listed = acceptable(request.headers, "accept")
    # The most specific range decides, in whatever order they are listed.
    return next((listed[kind] for kind in (_EVENTS, "text/*", "*/*") if kind in listed), False)


def acceptable(headers: Headers, name: str) -> dict[str, bool]:
    """What Accept or Accept-Encoding lists, in lower case: whether each weight is above 0 (RFC 9110, 12.4.2)."""
    offers = (offer.partition(";") for offer in ",".join(headers.getlist(name)).lower().split(","))
    return {kind.strip(): not _NEVER.search(parameters) for kind, _, parameters in offers}
