"""The chunks of a chat completion: from the data of an event to typed fields.

Nearly every chunk has the documented shape. msgspec decodes it without building what is not used here, at a hundredth
of the cost of the SDK's objects. Any other chunk is parsed by Python's decoder, and what can be read of it is taken.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from midsentence_worker.models import json_documents as documents

_DONE = b"[DONE]"


class Delta(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class ReportedUsage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    """`message` is a whole message instead of a delta, `text` the field of the older completions API."""

    delta: Delta | None = None
    finish_reason: str | None = None
    message: Delta | None = None
    text: str | None = None
    usage: ReportedUsage | None = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    choices: list[Choice] | None = None
    usage: ReportedUsage | None = None
    # Of these two only null is a chunk's, so any other value fails the fast decoder.
    error: None = None
    type: None = None
    object: str | None = None


class Failure(NamedTuple):
    """The provider reports an error: an object, or a text."""

    reported: object


class Done(NamedTuple):
    """`[DONE]`: nothing follows."""


_decoder = msgspec.json.Decoder(Chunk)


def decode(event_type: bytes, data: bytes) -> Chunk | Failure | Done | None:
    """Decode one event. None stands for data that is no JSON object and cannot be meant as one, such as `ping`.

    Raises UNREADABLE for data that begins like an object and is none.
    """
    if not event_type:
        try:
            chunk = _decoder.decode(data)
        except documents.UNREADABLE:
            pass
        else:
            if chunk.object != "error":
                return chunk
    return _decode_any(event_type, data.strip())


def _decode_any(event_type: bytes, data: bytes) -> Chunk | Failure | Done | None:
    if data.startswith(_DONE):
        return Done()
    try:
        document = documents.parse(data)
    except documents.UNREADABLE:
        if event_type == b"error":
            return Failure(data.decode(errors="replace"))
        if data[:1] in {b"{", b"["}:
            raise
        return None
    # Gemini wraps an error in an array.
    parts = [part for part in (documents.array(document) or [document]) if isinstance(part, dict)]
    if event_type == b"error":
        return Failure(parts[0] if parts else document)
    for part in parts:
        if part.get("error") or "error" in (part.get("object"), part.get("type")):
            return Failure(part)
    return tolerant_chunk(parts[0]) if parts else None


def tolerant_chunk(document: Mapping[str, Any]) -> Chunk:
    """Take what can be read of a chunk, or of a completion that is no stream."""
    choices = documents.array(document.get("choices"))
    return Chunk([_choice(documents.mapping(choice)) for choice in choices[:1]], _usage(document.get("usage")))


def _choice(choice: Mapping[str, Any]) -> Choice:
    return Choice(
        _delta(choice.get("delta")),
        _finish_reason(choice.get("finish_reason")),
        _delta(choice.get("message")),
        documents.string(choice.get("text")),
        _usage(choice.get("usage")),
    )


def _delta(value: object) -> Delta:
    delta = documents.mapping(value)
    text, thought = _content(delta.get("content"))
    return Delta(
        text,
        documents.string(delta.get("refusal")),
        thought or documents.string(delta.get("reasoning_content")),
        documents.string(delta.get("reasoning")),
    )


def _content(value: object) -> tuple[str, str]:
    """The text and the reasoning of a content, which is a string or an array of parts (Mistral, Anthropic)."""
    if isinstance(value, str):
        return value, ""
    text, thought = "", ""
    for part in documents.array(value):
        fields = documents.mapping(part)
        kind = documents.string(fields.get("type"))
        if kind in {"thinking", "reasoning"}:
            inner = fields.get("thinking") or fields.get("reasoning") or fields.get("text")
            thought += "".join(_content(inner))
        else:
            text += documents.string(fields.get("text") or fields.get("refusal") or part)
    return text, thought


def _finish_reason(value: object) -> str | None:
    if not value or isinstance(value, str):
        return value or None
    # Some value that is no text: the answer is finished, for whatever reason.
    return documents.string(documents.mapping(value).get("reason")) or "stop"


def _usage(value: object) -> ReportedUsage:
    usage = documents.mapping(value)
    return ReportedUsage(documents.count(usage.get("prompt_tokens")), documents.count(usage.get("completion_tokens")))
