"""What a request must be before anything is done with it: its origin, its headers, its body."""

import asyncio
import re
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.requests import ClientDisconnect, Request

from midsentence.log import OnBusy
from midsentence.settings import Settings
from midsentence_server.errors import Refusal

# A body that trickles in holds a connection and its memory; an honest one of the allowed size needs far less.
_BODY_SECONDS = 30
_DISCARDED_BYTES = 8 << 20
# A title is one line of a list; what is longer is a text.
_TITLE_CHARS = 200
# What is left of a refused body is still on its way, so the connection cannot carry another request.
_CLOSE = {"Connection": "close"}
_KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    """A first message."""

    text: str


class Say(Ask):
    """A further message."""

    on_busy: OnBusy = "queue"
    parent: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Share(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing can be said of it yet."""


class Stop(msgspec.Struct, forbid_unknown_fields=True):
    turn: Annotated[int, msgspec.Meta(ge=1, le=10**11)] | None = None


class Rename(msgspec.Struct, forbid_unknown_fields=True):
    title: str


Asked = TypeVar("Asked", bound=Ask)
Body = TypeVar("Body", bound=msgspec.Struct)


def check_origin(request: Request, settings: Settings) -> None:
    """Raises Refusal (403) for what a page of another site sent with our visitor's cookie (protocol 2.3)."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site") == "cross-site" and origin not in settings.allowed_origins:
        raise _foreign()
    if origin is None or origin in settings.allowed_origins:
        return
    try:
        theirs, ours = urlsplit(origin), request.url
        same = (theirs.hostname, theirs.port or _DEFAULT_PORTS.get(theirs.scheme)) == (
            ours.hostname,
            # Behind a proxy that ends TLS without saying so, the scheme is not ours to compare; the default port
            # follows theirs.
            ours.port or _DEFAULT_PORTS.get(theirs.scheme),
        )
    except ValueError:
        same = False
    if not same:
        raise _foreign()


def _foreign() -> Refusal:
    return Refusal(
        403,
        "foreign_origin",
        "A page of another origin may not do this; name its origin in MIDSENTENCE_ALLOWED_ORIGINS.",
    )


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise Refusal(400, "invalid_idempotency_key", "Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return key


async def ask(request: Request, settings: Settings, kind: type[Asked]) -> Asked:
    """Read the message that a POST carries. Raises Refusal (400, 408, 413, 415, 422)."""
    asked = await body(request, settings, kind)
    check_text(asked.text, settings)
    return asked


async def body(request: Request, settings: Settings, kind: type[Body]) -> Body:
    """Read a JSON body of the given shape. Raises Refusal (400, 408, 413, 415, 422)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "unsupported_media_type", "Send the body as Content-Type: application/json.")
    content = await _content(request, settings.max_body_bytes)
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise Refusal(422, "invalid_body", f"The body has not the form that this address takes: {error}.") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refusal(400, "invalid_json", f"The body is not JSON: {error}.") from error


async def optional_body(request: Request, settings: Settings, kind: type[Body]) -> Body:
    """Read the body of what a button asks for: it needs none, and one that comes must be a right one."""
    empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    return kind() if empty else await body(request, settings, kind)


def check_text(text: str, settings: Settings) -> None:
    if not text.strip():
        raise Refusal(422, "invalid_body", "`text` must say something.")
    if len(text) > settings.max_text_chars:
        raise Refusal(
            413,
            "text_too_long",
            f"`text` may have {settings.max_text_chars} characters at the most; it has {len(text)}.",
        )


def title(asked: Rename) -> str:
    """The title as it is kept (protocol 6.1). Raises Refusal (422)."""
    title = " ".join(asked.title.split())
    if not title:
        raise Refusal(422, "invalid_body", "`title` must say something.")
    if len(title) > _TITLE_CHARS:
        raise Refusal(
            422,
            "invalid_body",
            f"`title` may have {_TITLE_CHARS} characters at the most; it has {len(title)}.",
        )
    return title


async def _content(request: Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes.

    A larger one is read on and thrown away before it is refused, within reason: a proxy that is still writing it would
    take an early answer for a broken connection, and turn our 413 into a 502 of its own.
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
        raise Refusal(408, "body_too_slow", sentence, _CLOSE) from error
    except ClientDisconnect as error:
        raise Refusal(400, "invalid_json", "The connection closed in the middle of the body.") from error
    if received > limit:
        raise Refusal(413, "body_too_large", f"The body may have {limit} bytes at the most.", _CLOSE)
    return bytes(content)


def accepts_events(request: Request) -> bool:
    """Whether `Accept` admits text/event-stream (RFC 9110, 12.5.1)."""
    listed = ",".join(request.headers.getlist("accept")).lower()
    if listed in {"", "text/event-stream", "*/*"}:
        return True
    parts = (part.partition(";") for part in listed.split(","))
    ranges = {kind.strip(): parameters for kind, _, parameters in parts}
    # The most specific range decides, wherever it stands.
    parameters = next((ranges[kind] for kind in ("text/event-stream", "text/*", "*/*") if kind in ranges), None)
    return parameters is not None and not re.search(r"(^|;)\s*q=0(\.0*)?\s*($|;)", parameters)
