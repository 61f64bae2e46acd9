"""The chunks of a chat completion: from the data of an event to typed fields.

Nearly every chunk has the documented shape. msgspec decodes it without building what is not used here, at a hundredth
of the cost of the SDK's objects. Any other chunk is parsed by Python's decoder. The rules for it:

- A field of another type than the documented one counts for what can be read of it, and for nothing otherwise.
- A whole `message` or a `text` stands for a `delta`. Reasoning has the names that vLLM, Ollama, OpenRouter, LiteLLM,
  MiniMax and GitHub Copilot give it.
- Of several choices, one was asked for: the first that says something counts.
- Data that is no JSON object, such as `ping`, is passed over. So is an object of another protocol. It is kept as
  `Unread`, since it may be all that comes.
- An error may be an object, an array, the data of an event `error`, a text that begins with that word, or stand in a
  choice or a delta.
- Several objects on the lines of one event are several chunks: some servers end no event with a blank line.
- Bytes that are no UTF-8 are U+FFFD.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from midsentence_worker.models import content_parts, finish_reasons, reported_errors
from midsentence_worker.models import json_documents as documents

_FIELD = re.compile(rb"(data|event|id|retry)?:")
_DONE = re.compile(rb'"?\[?\s*DONE\s*\]', re.IGNORECASE)
_IN_A_CHOICE = ("delta", "message", "text", "error")
_THOUGHTS = ("reasoning", "thinking", "reasoning_text", "thinking_blocks", "reasoning_details")
# Fields of a delta that say nothing of the answer.
_SILENT = frozenset(
    {
        *("role", "name", "id", "type", "index", "object", "annotations", "logprobs", "finish_reason"),
        *("provider_specific_fields", "content", "refusal", "reasoning_content", *_THOUGHTS),
    }
)
# Of names under which something may stand beside an empty text.
_HINTS = re.compile(
    rb'"(thinking|reasoning_|text"|error|audio|finishReason|message|tool_calls"\s*:\s*\[|function_call)'
)
_NOTHING: tuple[object, ...] = (None, "", 0, False, [], {})


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
    if event_type not in reported_errors.ERROR_EVENTS:
        try:
            chunk = documented_decoder.decode(data)
        except documents.UNREADABLE:
            pass
        else:
            if is_plain(chunk) or (_is_empty(chunk) and not _HINTS.search(data)):
                return chunk
    return decode_any(event_type, documents.stripped(data))


def decode_lines(event_type: bytes, data: bytes) -> list[Decoded]:
    """Decode the lines of an event that is no JSON as a whole. Raises UNREADABLE where any of them is none either."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) < 2:
        raise ValueError("not several lines")
    return [decode(event_type, line) for line in lines]


def _is_empty(chunk: Chunk) -> bool:
    """Whether the text of the only choice is empty. Providers that hide their reasoning send one for each token."""
    if not chunk.choices or len(chunk.choices) > 1:
        return False
    delta = chunk.choices[0].delta
    return delta is not None and delta.content == ""


def is_plain(chunk: Chunk) -> bool:
    """Whether all that counts of a chunk was read. One that says nothing may say it in another shape."""
    if not chunk.choices:
        return False
    choice = chunk.choices[0]
    delta = choice.delta
    if delta is None:
        return bool(choice.text)
    return bool(delta.content or delta.reasoning_content or delta.reasoning)


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
        if event_type in reported_errors.ERROR_EVENTS or reported_errors.ERROR_TEXT.match(text):
            return Failure(text)
        if data[:1] in {b"{", b"["}:
            raise
        return Unread(text) if text else None
    if event_type in reported_errors.ERROR_EVENTS:
        return Failure(document)
    return _decode_document(reported_errors.error_or_first(document))


def _decode_document(document: object) -> Decoded:
    if not documents.is_object(document):
        return Unread(document) if isinstance(document, str) and document.strip() else None
    fields = documents.mapping(document)
    if reported_errors.is_error(fields):
        return Failure(fields)
    choice = _choice(fields.get("choices"))
    usage = fields.get("usage")
    if choice is None:
        if "choices" in fields or documents.mapping(usage) or not _says_something(fields):
            return Chunk([], _usage(usage))
        return Unread(fields)
    if (
        failed := next((at for at in (choice, documents.mapping(choice.get("delta"))) if at.get("error")), None)
    ) is None:
        return _decode_choice(fields, choice)
    return Failure(failed)


def _decode_choice(fields: Mapping[str, Any], choice: Mapping[str, Any]) -> Decoded:
    (delta, unread), (message, also_unread) = _delta(choice.get("delta")), _delta(choice.get("message"))
    text = content_parts.read(choice.get("text"))
    chunk = Chunk(
        [
            Choice(
                delta,
                _finish_reason(choice.get("finish_reason") or choice.get("finishReason")),
                message,
                text.text,
                _usage(choice.get("usage")),
            )
        ],
        _usage(fields.get("usage")),
    )
    if not (unread or also_unread or text.is_unread):
        return chunk
    deltas = [documents.mapping(choice.get(name)) for name in ("delta", "message")]
    is_call = any(delta.get(name) for delta in deltas for name in ("tool_calls", "function_call"))
    return Unread(finish_reasons.CALLED_A_TOOL if is_call else fields, chunk)


def _choice(choices: object) -> Mapping[str, Any] | None:
    """The first choice that says something, or else the first."""
    listed = [choice for choice in documents.array(choices) if documents.is_object(choice)]
    fields = documents.mapping(choices)
    if fields:
        is_one = any(name in fields for name in _IN_A_CHOICE)
        listed = [fields] if is_one else [choice for choice in fields.values() if documents.is_object(choice)]
    return next((each for each in listed if any(map(each.get, _IN_A_CHOICE))), listed[0] if listed else None)


def _says_something(fields: Mapping[str, Any]) -> bool:
    return bool(
        reported_errors.words(fields)
        or any(value for value in fields.values() if documents.is_object(value) or documents.is_array(value))
    )


def _delta(value: object) -> tuple[Delta | None, bool]:
    """The delta, and whether something stands in it that cannot be read."""
    if isinstance(value, str):
        return Delta(value), False
    if documents.is_array(value):
        return _joined([_delta(part) for part in documents.array(value) if not documents.is_array(part)])
    fields = documents.mapping(value)
    if not fields:
        return None, bool(value)
    content, refusal = content_parts.read(fields.get("content")), content_parts.read(fields.get("refusal"))
    if not content.text and isinstance(fields.get("text"), str):
        content = content._replace(text=fields["text"])
    thoughts = (content_parts.read(fields.get(name)) for name in ("reasoning_content", *_THOUGHTS))
    # Some gateways send the same reasoning under several names.
    thought = content.thought or next((found for each in thoughts if (found := each.thought + each.text)), "")
    is_silent = not (content.text or refusal.text or thought)
    unknown = is_silent and any(fields[name] not in _NOTHING for name in fields.keys() - _SILENT)
    return Delta(content.text, refusal.text, thought), content.is_unread or refusal.is_unread or unknown


def _joined(deltas: Sequence[tuple[Delta | None, bool]]) -> tuple[Delta | None, bool]:
    read = [delta for delta, _ in deltas if delta is not None]
    texts = ("".join(getattr(delta, name) or "" for delta in read) for name in Delta.__struct_fields__)
    return (Delta(*texts) if read else None), any(unread for _, unread in deltas)


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
