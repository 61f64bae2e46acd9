"""Any JSON in any field of a chunk: no exception but the documented ones, and no text that is lost."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from midsentence_worker.models import chat_chunks
from midsentence_worker.models import json_documents as documents
from tests.support.chat_answers import DONE, Heard, cut, event, heard

TEXTS = st.text(st.sampled_from('ab 你😀\ud83d\ude00\n\0\u2028<"\\'), max_size=6)
NUMBERS = st.integers() | st.floats() | st.booleans() | st.none()
NAMES = st.sampled_from(
    [
        *("choices", "delta", "message", "content", "text", "refusal", "reasoning_content", "reasoning", "thinking"),
        *("finish_reason", "usage", "prompt_tokens", "completion_tokens", "input_tokens", "error", "errors", "code"),
        *("type", "object", "index", "status", "detail", "msg", "logprobs", "value", "thought", "reason"),
    ]
)
WORDS = st.sampled_from(
    ["text", "thinking", "error", "stop", "MAX_TOKENS", "rate_limit_exceeded", "401", "{}", '{"a"', ""]
)
ANY = st.recursive(
    NUMBERS | TEXTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
DELTAS = st.dictionaries(
    st.sampled_from(["role", "content", "refusal", "reasoning_content", "reasoning", "tool_calls"]), ANY, max_size=4
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "delta": DELTAS | ANY,
        "message": DELTAS | ANY,
        "text": ANY,
        "finish_reason": ANY,
        "usage": ANY,
        "error": ANY,
    },
)
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(CHOICES | ANY, max_size=2) | ANY,
        "usage": ANY,
        "error": ANY,
        "type": ANY,
        "object": ANY,
    },
)
EVENTS = st.tuples(CHUNKS | ANY, st.sampled_from(["", "", "error", "message"]))
CUTS = st.lists(st.integers(min_value=0, max_value=10**6), max_size=8)


def fields_of(decoded: chat_chunks.Decoded) -> Any:
    """What counts of a chunk: null, nothing, and an empty text are the same."""
    if isinstance(decoded, chat_chunks.Unread):
        decoded = decoded.chunk or chat_chunks.Chunk()
    if not isinstance(decoded, chat_chunks.Chunk):
        return decoded
    choice = decoded.choices[0] if decoded.choices else chat_chunks.Choice()
    deltas = [
        [(delta.content or delta.refusal or ""), delta.reasoning_content or delta.reasoning or ""]
        if delta
        else ["", ""]
        for delta in (choice.delta, choice.message)
    ]
    return deltas, choice.text or "", choice.finish_reason or "", usage_of(choice.usage), usage_of(decoded.usage)


def usage_of(usage: chat_chunks.ReportedUsage | None) -> list[int | None]:
    names = chat_chunks.ReportedUsage.__struct_fields__
    return [None if usage is None else documents.count(getattr(usage, name)) for name in names]


@given(CHUNKS)
@example({"choices": [{}, {"delta": {"content": "x"}}]})
@example({"choices": [{"delta": {"content": "", "refusal": "x"}, "message": {"content": "y"}}]})
@example({"object": "ERROR", "choices": [{}]})
def test_both_decoders_read_the_same_where_the_fast_one_reads(document: Any) -> None:
    data = json.dumps(document).encode()
    try:
        fast = chat_chunks.documented_decoder.decode(data)
    except documents.UNREADABLE:
        return
    if not chat_chunks.is_plain(fast):
        return  # left to the other decoder
    assert fields_of(fast) == fields_of(chat_chunks.decode_any(b"", data))


@given(st.lists(EVENTS, max_size=4), CUTS, st.booleans())
def test_any_values_end_an_answer_or_fail_it(events: list[tuple[Any, str]], cuts: list[int], ascii_only: bool) -> None:
    stream = b"".join(event(document, kind) for document, kind in events) + (DONE if ascii_only else b"")
    whole = heard(stream)
    assert (whole.finish is None) != (whole.error is None)
    if whole.finish is not None and whole.finish.usage is not None:
        json.dumps([whole.finish.usage.input_tokens, whole.finish.usage.output_tokens])
    parts = heard(*cut(stream, cuts))
    assert outcome(parts) == outcome(whole)


@given(ANY)
def test_any_body_ends_an_answer_or_fails_it(document: Any) -> None:
    whole = heard(json.dumps(document).encode(), content_type="application/json")
    assert (whole.finish is None) != (whole.error is None)


def outcome(answer: Heard) -> Any:
    error = answer.error and (answer.error.code, answer.error.message)
    return answer.text, answer.thought, answer.finish, error


# A recognised place of a text, and of a thought.
PLACES: dict[str, Callable[[str], Any]] = {
    "delta": lambda text: {"delta": {"content": text}},
    "null beside it": lambda text: {"delta": {"content": text, "reasoning": None, "tool_calls": None}, "index": None},
    "part": lambda text: {"delta": {"content": [{"type": "text", "text": text}]}},
    "unknown part": lambda text: {"delta": {"content": [{"type": "x", "text": text}]}},
    "string in an array": lambda text: {"delta": {"content": [text]}},
    "refusal": lambda text: {"delta": {"refusal": text}},
    "text": lambda text: {"text": text, "finish_reason": ""},
}
THOUGHTS: dict[str, Callable[[str], Any]] = {
    "reasoning_content": lambda text: {"delta": {"reasoning_content": text}},
    "reasoning": lambda text: {"delta": {"content": "", "reasoning": text}},
    "thinking": lambda text: {
        "delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}
    },
}
PIECES = st.lists(
    st.tuples(st.sampled_from(sorted(PLACES)), TEXTS) | st.tuples(st.sampled_from(sorted(THOUGHTS)), TEXTS), max_size=8
)


@given(PIECES, CUTS, st.sampled_from(["", ": ping\n\n", "data: null\n\n", "retry: 1\n\n"]), ANY)
def test_every_text_of_a_known_place_is_in_the_answer(
    pieces: list[tuple[str, str]], cuts: list[int], noise: str, extra: Any
) -> None:
    stream = noise.encode()
    for place, text in pieces:
        choice = (PLACES.get(place) or THOUGHTS[place])(text)
        stream += event({"id": extra, "model": extra, "choices": [{**choice, "logprobs": extra}]}) + noise.encode()
    answer = heard(*cut(stream + DONE, cuts), think_tags=False)
    assert answer.error is None
    assert answer.text == joined(text for place, text in pieces if place in PLACES)
    assert answer.thought == joined(text for place, text in pieces if place in THOUGHTS)


def joined(texts: Iterable[str]) -> str:
    return "".join(texts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
