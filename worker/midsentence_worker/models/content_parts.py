"""The content of a message: a string, or an array of parts (Mistral, Anthropic, and gateways in front of them).

The rule: text parts are text, and thinking parts are reasoning. A part of another kind that has a text is text, because
text that is lost leaves a hole in the answer that nobody sees.
"""

from typing import NamedTuple

from midsentence_worker.models import json_documents as documents

# Parts nest two deep where they are documented (Mistral's thinking). Deeper ones would only exhaust the stack.
_DEEPEST = 4
_THINKING = frozenset({"thinking", "reasoning", "thought", "reasoning_text", "reasoning_summary", "summary_text"})
_TEXT_FIELDS = ("text", "refusal", "output_text", "content", "value")
_THINKING_FIELDS = ("thinking", "reasoning", "reasoning_content", "summary", *_TEXT_FIELDS)


class Content(NamedTuple):
    """`is_unread` where a value stands that is neither text nor empty."""

    text: str
    thought: str
    is_unread: bool = False


def read(value: object, depth: int = 0) -> Content:
    """Read a content of any shape."""
    if isinstance(value, str):
        return Content(value, "")
    if documents.is_object(value):
        return _read_part(value, depth)
    if not documents.is_array(value):
        # null is no content; a number or a boolean is none that could be shown.
        return Content("", "", value is not None)
    if depth > _DEEPEST:
        return Content("", "", is_unread=bool(documents.array(value)))
    parts = [read(part, depth + 1) for part in documents.array(value)]
    return Content(
        "".join(part.text for part in parts),
        "".join(part.thought for part in parts),
        any(part.is_unread for part in parts),
    )


def _read_part(value: object, depth: int) -> Content:
    fields = documents.mapping(value)
    if depth > _DEEPEST:
        return Content("", "", bool(fields))
    kind = documents.word(fields.get("type"))
    if kind in _THINKING or fields.get("thought") is True or ("thinking" in fields and "text" not in fields):
        inner = next((inner for name in _THINKING_FIELDS if (inner := fields.get(name))), None)
        text, thought, is_unread = read(inner, depth + 1)
        return Content("", text + thought, is_unread)
    inner = next((inner for name in _TEXT_FIELDS if (inner := fields.get(name))), None)
    if inner is None:
        return Content("", "", bool(fields) and not any(name in fields for name in _TEXT_FIELDS))
    return read(inner, depth + 1)
