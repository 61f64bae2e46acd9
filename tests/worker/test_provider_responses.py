"""What providers send for OpenAI Responses: other shapes, ends and values than the documented ones."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from midsentence.events import Delta, Reasoning, Usage
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models.base import Finish, Mark, Piece
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.response_events import decode_any, documented_decoder
from midsentence_worker.models.responses import ResponsesModel
from tests.support.chat_answers import DONE, Heard, cut, event
from tests.support.model_client import QUESTION, collect, collect_failure, model_at
from tests.support.raw_provider import Reply, raw_provider, reply
from tests.support.response_streams import GONE, sent, shorten_pauses

pytestmark = pytest.mark.anyio

STOP = Finish("stop", None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text, "annotations": []}]}


CREATED = sent("created", response={"id": "resp_1", "status": "queued", "output": []})
COMPLETED = sent("completed", response={"id": "resp_1", "status": "completed", "output": []})
HELLO = sent("output_text.delta", delta="Hello ") + sent("output_text.delta", delta="world.")


async def heard(*replies: Reply) -> Heard:
    answer = Heard()
    async with raw_provider(*replies) as provider, model_at(provider.url, api="responses") as model:
        await answer.follow(model.stream(QUESTION))
    return answer


@pytest.mark.parametrize(
    "stream",
    [
        CREATED + HELLO + COMPLETED,
        HELLO + COMPLETED,
        sent("created", response={"status": "queued"}) + HELLO + COMPLETED,
        sent("created", response={"id": "\ud83d"}) + HELLO + COMPLETED,
        sent("created", response={"id": ""}) + HELLO + COMPLETED,
        sent("created", response={"id": "a b\n"}) + HELLO + COMPLETED,
        sent("created", response={"id": ".."}) + HELLO + COMPLETED,
        sent("created", response={"id": 7}) + HELLO + COMPLETED,
        CREATED + HELLO.replace(b'"type": "response.output_text.delta", ', b"") + COMPLETED,
        CREATED + sent("output_text.delta", delta={"text": "Hello world."}) + COMPLETED,
        CREATED + sent("output_text.delta", delta=[{"type": "text", "text": "Hello world."}]) + COMPLETED,
        CREATED + sent("output_text.done", text="Hello ") + sent("output_text.done", text="world.") + COMPLETED,
        CREATED + HELLO + sent("output_text.done", text="Hello world.") + COMPLETED,
        CREATED
        + sent("refusal.delta", delta="Hello world.")
        + sent("refusal.done", refusal="Hello world.")
        + COMPLETED,
        CREATED + sent("completed", response={"status": "completed", "output": [message("Hello world.")]}),
        sent("completed", response={"id": "resp_1", "status": "completed", "output_text": "Hello world."}),
        CREATED + HELLO + sent("completed", response={"output": [message("Hello world.")]}),
        CREATED + HELLO + sent("COMPLETED", response={}),
        b"\xef\xbb\xbf" + CREATED + HELLO + COMPLETED,
    ],
)
async def test_text_of_any_shape_is_the_answer(stream: bytes) -> None:
    assert await heard(reply(stream), GONE) == Heard("Hello world.", "", STOP)


@pytest.mark.parametrize(
    "events",
    [
        sent("reasoning_text.delta", delta="Hm."),
        sent("reasoning_summary_text.delta", delta="Hm."),
        sent("reasoning.delta", delta={"type": "thinking", "thinking": "Hm."}),
    ],
)
async def test_thinking_of_any_shape_is_reasoning(events: bytes) -> None:
    assert await heard(reply(CREATED + events + HELLO + COMPLETED)) == Heard("Hello world.", "Hm.", STOP)


@pytest.mark.parametrize(
    "noise",
    [b"data:\n\n", b"data\n\n", b"retry: 3000\n\n", b"id: 7\n\n", b": ping\n\n", b"event: ping\n\n"]
    + [event(data) for data in ("null", "true", '""', "[]", "{}", "ping", "[1]")]
    + [event({"type": "ping"}, "ping"), sent("output_item.added", item=None), sent("unknown", delta=5)],
)
async def test_what_says_nothing_is_passed_over(noise: bytes) -> None:
    first, second = (sent("output_text.delta", delta=text) for text in ("Hello ", "world."))
    stream = noise + CREATED + noise + first + noise + second + noise + COMPLETED
    assert await heard(reply(stream)) == Heard("Hello world.", "", STOP)


WHOLE = {"id": "resp_1", "object": "response", "status": "completed", "output": [message("Hello world.")]}


@pytest.mark.parametrize("document", [WHOLE, [WHOLE], {"output": [message("Hello world.")]}])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_whole_response_instead_of_a_stream_is_the_answer(document: object, kind: str) -> None:
    answer = await heard(reply(json.dumps(document, indent=1).encode(), kind=kind))
    assert answer == Heard("Hello world.", "", STOP)


async def test_reasoning_of_a_whole_response_is_kept() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    document = {**WHOLE, "output": [thought, message("Hello world.")]}
    assert await heard(reply(json.dumps(document).encode())) == Heard("Hello world.", "Hm.", STOP)


async def test_response_that_is_queued_instead_of_streamed_is_polled() -> None:
    queued = {**WHOLE, "status": "queued", "output": []}
    replies = [reply(json.dumps(document).encode(), kind="application/json") for document in (queued, queued, WHOLE)]
    assert await heard(*replies) == Heard("Hello world.", "", STOP)


async def test_done_without_a_last_event_ends_the_answer() -> None:
    assert await heard(reply(CREATED + HELLO + DONE), GONE) == Heard("Hello world.", "", STOP)
    assert await heard(reply(HELLO + DONE), GONE) == Heard("Hello world.", "", STOP)


async def test_done_of_a_cut_answer_does_not_end_it() -> None:
    rest = reply(json.dumps(WHOLE).encode(), kind="application/json")
    stream = CREATED + sent("output_text.delta", delta="Hello ") + DONE
    assert await heard(reply(stream), rest) == Heard("Hello world.", "", STOP)


async def test_stream_without_an_id_that_breaks_off_is_truncated() -> None:
    answer = await heard(reply(HELLO), GONE)
    assert (answer.text, answer.error and answer.error.code) == ("Hello world.", "model_truncated")


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (event("the model is loading"), "the model is loading"),
        (event({"message": "the model is loading"}), "the model is loading"),
        (b"the model is loading", "the model is loading"),
    ],
)
async def test_answer_that_cannot_be_read_fails_with_the_providers_words(stream: bytes, words: str) -> None:
    error = (await heard(reply(stream))).error
    assert error is not None
    assert error.code == "model_failed"
    assert error.message.endswith(f"({words})")


async def test_whole_response_of_an_unknown_status_is_no_empty_answer() -> None:
    odd = reply(json.dumps({"id": "resp_1", "message": "Hm?"}).encode(), kind="application/json")
    answer = await heard(reply(CREATED), odd)
    assert answer.error is not None
    assert answer.error.message.endswith("(Hm?)")


@pytest.mark.parametrize(
    "error",
    [
        event({"type": "error", "code": "server_error", "message": "W.", "param": None}),
        event({"type": "error", "error": {"message": "W."}}),
        event({"error": {"message": "W."}}),
        event([{"error": {"message": "W."}}]),
        event({"object": "error", "message": "W."}),
        event("W.", "error"),
        event('"W."', "error"),
        event(["W."], "error"),
        sent("failed", response={"status": "failed", "error": {"code": "server_error", "message": "W."}}),
        sent("failed", response={"status": "failed", "error": "W."}),
        sent("output_text.delta", error={"message": "W."}, delta="x"),
    ],
)
async def test_error_in_mid_answer_fails_it_with_its_words(error: bytes) -> None:
    answer = await heard(reply(CREATED + HELLO + error + COMPLETED), GONE)
    assert (answer.text, answer.error and answer.error.code) == ("Hello world.", "model_failed")
    assert answer.error is not None
    assert answer.error.message.endswith(" (W.)")


async def test_error_behind_the_id_counts_as_its_status() -> None:
    failed = sent("failed", response={"status": "failed", "error": {"code": "invalid_api_key", "message": "W."}})
    error = (await heard(reply(CREATED + failed), GONE)).error
    assert error is not None
    assert error.code == "model_refused_key"


@pytest.mark.parametrize(
    ("status", "details", "reason"),
    [
        ("completed", None, "stop"),
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "CONTENT_FILTER"}, "content_filter"),
        ("incomplete", {"reason": "safety"}, "content_filter"),
        ("incomplete", None, "length"),
        ("incomplete", {"reason": 7}, "length"),
        ("incomplete", "x", "length"),
    ],
)
async def test_end_counts_in_any_spelling(status: str, details: object, reason: str) -> None:
    end = sent(status, response={"status": status, "incomplete_details": details})
    finish = (await heard(reply(CREATED + HELLO + end))).finish
    assert finish is not None
    assert finish.reason == reason


@pytest.mark.parametrize("status", ["cancelled", "canceled", "CANCELLED"])
async def test_cancelled_response_is_a_failure_in_any_spelling(status: str) -> None:
    error = (await heard(reply(CREATED + HELLO + sent("incomplete", response={"status": status})), GONE)).error
    assert error is not None
    assert (error.code, "cancelled" in error.message) == ("model_failed", True)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 5, "output_tokens": 2}, Usage(5, 2, "reported")),
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(5, 2, "reported")),
        ({"input_tokens": True, "output_tokens": 2}, None),
        ({"input_tokens": -5, "output_tokens": 2}, None),
        ({"input_tokens": 10**30, "output_tokens": 2}, None),
        ({"input_tokens": 5.5, "output_tokens": 2}, None),
        ([], None),
    ],
)
async def test_usage_counts_where_it_is_possible(usage: object, expected: Usage | None) -> None:
    end = sent("completed", response={"status": "completed", "usage": usage})
    assert (await heard(reply(CREATED + HELLO + end))).finish == Finish("stop", expected)


@pytest.mark.parametrize("number", [True, -1, 1.5, "7", 10**30, None])
async def test_impossible_number_of_an_event_is_none(number: object) -> None:
    deltas = [event({"type": "response.output_text.delta", "sequence_number": number, "delta": text}) for text in "ab"]
    assert (await heard(reply(CREATED + b"".join(deltas) + COMPLETED))).text == "ab"


TEXTS = st.text(st.sampled_from('ab 你😀\ud83d\ude00\n\0"\\'), max_size=6)
NAMES = st.sampled_from(
    [
        *("type", "delta", "text", "response", "id", "status", "output", "content", "error", "code", "message"),
        *("sequence_number", "usage", "input_tokens", "output_tokens", "incomplete_details", "reason", "summary"),
    ]
)
WORDS = st.sampled_from(["completed", "failed", "cancelled", "reasoning", "output_text", "resp_1", "error", "401"])
ANY = st.recursive(
    st.integers() | st.floats() | st.booleans() | st.none() | TEXTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)
KINDS = st.sampled_from(
    [
        *("created", "queued", "in_progress", "output_text.delta", "output_text.done", "reasoning_text.delta"),
        *("completed", "incomplete", "failed", "output_item.done", "x"),
    ]
).map("response.".__add__) | st.sampled_from(["error", ""])
EVENTS = st.fixed_dictionaries(
    {"type": KINDS | ANY}, optional={"response": ANY, "delta": ANY, "text": ANY, "sequence_number": ANY, "error": ANY}
)


class Bytes:
    """A stream of bytes without a connection."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.content_type = "text/event-stream"
        self._parts = list(parts)

    async def read(self) -> bytes:
        return self._parts.pop(0) if self._parts else b""

    def pace(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def pieces_of(parts: Sequence[bytes]) -> AsyncIterator[Piece]:
    """The pieces of one connection; none can be opened after it."""
    async with model_at("http://127.0.0.1:9/v1", api="responses") as model:
        assert isinstance(model, ResponsesModel)
        source: Any = Bytes(parts)

        async def post(*_: object) -> Any:
            return source

        async def retrieve(*_: object, **__: object) -> None:
            raise ModelError("model_truncated", "gone")

        client: Any = model._client  # pyright: ignore[reportPrivateUsage]
        client.post, client.get = post, retrieve
        client.sdk.responses.with_raw_response.retrieve = retrieve
        client.sdk.responses.cancel = retrieve
        async for piece in model.stream(QUESTION):
            yield piece


@settings(deadline=None, max_examples=150)
@given(st.lists(EVENTS | ANY, max_size=4), st.lists(st.integers(0, 10**4), max_size=6), st.booleans())
async def test_any_values_end_an_answer_or_fail_it(events: list[Any], cuts: list[int], is_done: bool) -> None:
    stream = b"".join(event(document) for document in events) + (DONE if is_done else b"")
    await Heard().follow(pieces_of(cut(stream, cuts)))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["output_text", "refusal", "reasoning_text"]), TEXTS), max_size=6), ANY)
async def test_every_text_is_in_the_answer(deltas: list[tuple[str, str]], extra: Any) -> None:
    stream = CREATED + b"".join(sent(f"{kind}.delta", delta=text, item_id=extra) for kind, text in deltas) + COMPLETED
    pieces = [piece async for piece in pieces_of([stream])]
    expected = "".join(text for kind, text in deltas if kind != "reasoning_text")
    text = "".join(piece.text for piece in pieces if isinstance(piece, Delta))
    assert text == expected.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert not [piece for piece in pieces if isinstance(piece, Delta | Reasoning) and not piece.text]


@given(EVENTS)
@example({"type": "response.output_text.delta", "delta": "x", "sequence_number": 2**60})
@example({"type": "response.output_text.delta", "delta": "x", "sequence_number": 2, "error": {}})
def test_both_decoders_read_the_same_where_the_fast_one_reads(document: Any) -> None:
    data = json.dumps(document).encode()
    try:
        fast = documented_decoder.decode(data)
    except documents.UNREADABLE:
        return
    slow = decode_any(b"", data)
    if fast.type.startswith("response."):
        assert slow is not None
        assert (fast.type, fast.sequence_number, fast.delta) == slow[:3]


async def test_answer_of_a_resumed_response_does_not_repeat_a_part() -> None:
    """An earlier worker had the deltas of this part."""
    stream = sent("output_text.done", 5, text="Hello world.") + sent(
        "completed", 6, response={"output": [message("Hello")]}
    )
    async with raw_provider(reply(stream)) as provider, model_at(provider.url, api="responses") as model:
        pieces = await collect(model, mark="resp_1:4:12")
    assert [piece for piece in pieces if not isinstance(piece, Mark)] == [STOP]


async def test_id_that_is_no_path_is_asked_for_as_one_segment() -> None:
    created = sent("created", 0, response={"id": "a/../b?x#y"})
    async with raw_provider(reply(created), GONE) as provider, model_at(provider.url, api="responses") as model:
        await collect_failure(model)
    assert all("/responses/a%2F..%2Fb%3Fx%23y" in line for line in provider.lines[1:])
