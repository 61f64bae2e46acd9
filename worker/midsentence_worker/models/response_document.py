"""The fields of a whole response, of any shape."""

from collections.abc import Mapping
from typing import Any

from midsentence.events import Usage
from midsentence_worker.models import content_parts
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models.surrogates import joined


def text_of(response: Mapping[str, Any]) -> str:
    """The text of a complete response, as its deltas add up to it."""
    items = [documents.mapping(item) for item in documents.array(response.get("output"))]
    text = "".join(
        content_parts.read(item.get("content")).text
        for item in items
        if documents.word(item.get("type")) != "reasoning"
    )
    return joined(text or documents.string(response.get("output_text")))


def reasoning_of(response: Mapping[str, Any]) -> str:
    items = [documents.mapping(item) for item in documents.array(response.get("output"))]
    contents = [
        content_parts.read(part)
        for item in items
        for part in (item.get("content"), None if item.get("content") else item.get("summary"))
        if documents.word(item.get("type")) == "reasoning"
    ]
    return joined("".join(content.text + content.thought for content in contents))


def calls_a_tool(response: Mapping[str, Any]) -> bool:
    kinds = [documents.word(documents.mapping(item).get("type")) for item in documents.array(response.get("output"))]
    return any(kind.endswith("_call") for kind in kinds)


def usage_of(response: Mapping[str, Any]) -> Usage | None:
    usage = documents.mapping(response.get("usage"))
    asked, answered = (
        next((count for name in names if (count := documents.count(usage.get(name))) is not None), None)
        for names in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
    )
    return None if asked is None or answered is None else Usage(asked, answered, "reported")
