"""The chunks of a chat completion: from the data of an event to typed fields.

Nearly every chunk has the documented shape. msgspec decodes it without building what is not used here, at a hundredth
of the cost of the SDK's objects. Any other chunk is parsed by Python's decoder. The rules for it:

- A field of another type than the documented one counts for what can be read of it, and for nothing otherwise.
- A whole `message` or a `text` stands for a `delta`.
- Data that is no JSON object, such as `ping`, is passed over. It is kept as `Unread`, since it may be all that comes.
- An error may be an object, an array, or the data of an event `error`.
"""

import re
from typing import NamedTuple

import msgspec

from midsentence_worker.models import content_parts, reported_errors
from midsentence_worker.models import json_documents as documents

_FIELD = re.compile(rb"(data|event|id|retry)?:")
_DONE = re.compile(rb'"?\[?\s*DONE\s*\]', re.IGNORECASE)


class Delta(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class ReportedUsage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    # So some gateways name them.
    input_tokens: int | None = None
    output_tokens: int | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    """`message` is a whole message instead of a delta, `text` the field of the older completions API."""

    delta: Delta | None = None
    finish_reason: str | None = None
    message: Delta | None = None
    text: str | None = None
    usage: ReportedUsage | None = None
    # OpenRouter reports an error here. Any value but null fails the fast decoder.
    error: None = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    choices: list[Choice] | None = None
    usage: ReportedUsage | None = None
    # As in a choice.
    error: None = None


class Failure(NamedTuple):
    """The provider reports an error: an object, or a text."""

    reported: object


class Done(NamedTuple):
    """`[DONE]`: nothing follows."""


class Unread(NamedTuple):
    """Nothing of an answer can be read here, or not all of it. `chunk` is the rest."""

    reported: object
    chunk: Chunk | None = None


Decoded = Chunk | Failure | Done | Unread | None

documented_decoder = msgspec.json.Decoder(Chunk)


def decode(event_type: bytes, data: bytes) -> Decoded:
    """Decode one event. None stands for data that says nothing.

    Raises UNREADABLE for data that begins like an object or an array and is none.
    """
    if event_type != b"error":
        try:
            chunk = documented_decoder.decode(data)
        except documents.UNREADABLE:
            pass
        else:
            if chunk.choices:
                return chunk
    return decode_any(event_type, documents.stripped(data))


def decode_body(body: bytes) -> list[Decoded]:
    """Decode a body that is no event stream: a completion or an error, an array of them, or one on each line."""
    body = documents.stripped(body)
    try:
        document = documents.parse(body)
    except documents.UNREADABLE:
        # The lines of an event that did not end are no words of a provider.
        lines = [line for line in body.splitlines() if line.strip() and not _FIELD.match(line)]
        return [_line(line) for line in lines]
    if documents.is_array(document):
        return [_decode_document(part) for part in documents.array(document)]
    return [_decode_document(document)]


def _line(line: bytes) -> Decoded:
    try:
        return _decode_document(documents.parse(line))
    except documents.UNREADABLE:
        return Unread(line.decode(errors="replace"))


def decode_any(event_type: bytes, data: bytes) -> Decoded:
    if _DONE.match(data):
        return Done()
    try:
        document = documents.parse(data)
    except documents.UNREADABLE:
        text = data.decode(errors="replace")
        if event_type == b"error":
            return Failure(text)
        if data[:1] in {b"{", b"["}:
            raise
        return Unread(text) if text else None
    if event_type == b"error":
        return Failure(document)
    return _decode_document(reported_errors.error_or_first(document))


def _decode_document(document: object) -> Decoded:
    if not documents.is_object(document):
        return Unread(document) if isinstance(document, str) and document.strip() else None
    fields = documents.mapping(document)
    if reported_errors.is_error(fields):
        return Failure(fields)
    choices = fields.get("choices")
    listed = [choice for choice in documents.array(choices) if documents.is_object(choice)]
    choice = listed[0] if listed else documents.mapping(choices) or None
    usage = fields.get("usage")
    if choice is None:
        if "choices" in fields or documents.mapping(usage) or not reported_errors.words(fields):
            return Chunk([], _usage(usage))
        return Unread(fields)
    if choice.get("error"):
        return Failure(choice)
    (delta, unread), (message, also_unread) = _delta(choice.get("delta")), _delta(choice.get("message"))
    text = content_parts.read(choice.get("text"))
    chunk = Chunk(
        [
            Choice(
                delta,
                _finish_reason(choice.get("finish_reason")),
                message,
                text.text,
                _usage(choice.get("usage")),
            )
        ],
        _usage(usage),
    )
    return Unread(fields, chunk) if unread or also_unread or text.is_unread else chunk


def _delta(value: object) -> tuple[Delta | None, bool]:
    """The delta, and whether something stands in it that cannot be read."""
    if isinstance(value, str):
        return Delta(value), False
    fields = documents.mapping(value)
    if not fields:
        return None, False
    content = content_parts.read(fields.get("content"))
    refusal = content_parts.read(fields.get("refusal"))
    thought, also_thought = (content_parts.read(fields.get(name)) for name in ("reasoning_content", "reasoning"))
    return (
        Delta(
            content.text,
            refusal.text,
            content.thought or thought.thought + thought.text,
            also_thought.thought + also_thought.text,
        ),
        content.is_unread or refusal.is_unread,
    )


def _finish_reason(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if not value:
        return None
    if documents.is_array(value):
        return _finish_reason(documents.array(value)[0])
    # Some value that is no text: the answer is finished, for whatever reason.
    fields = documents.mapping(value)
    return next((text for name in ("reason", "type", "name") if (text := documents.string(fields.get(name)))), "stop")


def _usage(value: object) -> ReportedUsage | None:
    fields = documents.mapping(value)
    if not fields:
        return None
    return ReportedUsage(*(documents.count(fields.get(name)) for name in ReportedUsage.__struct_fields__))
