"""Further shapes that real providers and gateways send for OpenAI Responses, by the kind of what they do."""

from typing import Any

import pytest

from midsentence_worker.models import finish_reasons
from midsentence_worker.models.base import Finish
from tests.support.chat_answers import DONE, Heard
from tests.support.model_client import QUESTION, model_at
from tests.support.raw_provider import raw_provider, reply
from tests.support.response_streams import GONE, sent, shorten_pauses

pytestmark = pytest.mark.anyio

STOP = Finish("stop", None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


def completed(**fields: object) -> bytes:
    return sent("completed", response={"id": "resp_1", "status": "completed", **fields})


PART: dict[str, Any] = {"type": "output_text", "text": "Hello", "annotations": []}
ITEM: dict[str, Any] = {"type": "message", "content": [PART]}
CREATED = sent("created", response={"id": "resp_1", "status": "queued", "output": []})
HELLO = sent("output_text.delta", delta="Hel") + sent("output_text.delta", delta="lo")


async def heard(stream: bytes) -> Heard:
    answer = Heard()
    async with raw_provider(reply(stream), GONE) as provider, model_at(provider.url, api="responses") as model:
        await answer.follow(model.stream(QUESTION))
    return answer


@pytest.mark.parametrize(
    "stream",
    [
        CREATED + HELLO + completed()[:-1],
        CREATED + HELLO + completed()[:-2],
        (CREATED + HELLO + completed()).replace(b"\n\n", b"\n"),
        CREATED + HELLO + b"data: [DONE]",
        CREATED + sent("output_item.done", item=ITEM) + completed(),
        CREATED + sent("content_part.done", part=PART) + completed(),
        CREATED + sent("content_part.done", part=PART) + sent("output_item.done", item=ITEM) + completed(),
        CREATED + HELLO + sent("content_part.done", part=PART) + sent("output_item.done", item=ITEM) + completed(),
        CREATED + sent("output_text.delta", text="Hello") + completed(),
        CREATED + sent("output_text.delta", delta=["Hel", "lo"]) + completed(),
        CREATED.replace(b"data: ", b"data: data: ") + HELLO + completed(),
    ],
)
async def test_text_of_any_place_is_the_answer_once(stream: bytes) -> None:
    answer = await heard(stream)
    assert (answer.text, answer.finish, answer.error) == ("Hello", STOP, None)


@pytest.mark.parametrize("numbers", [(0, 1, 1, 2), (0, 5, 4, 6), (0, 0, 0, 0), (3, 2, 1, 0)])
async def test_numbers_that_do_not_rise_lose_no_text(numbers: tuple[int, int, int, int]) -> None:
    first, second, third, last = numbers
    stream = sent("created", first, response={"id": "resp_1"}) + sent("output_text.delta", second, delta="Hel")
    stream += sent("output_text.delta", third, delta="lo")
    answer = await heard(stream + sent("completed", last, response={"id": "resp_1", "status": "completed"}))
    assert (answer.text, answer.finish) == ("Hello", STOP)


@pytest.mark.parametrize(
    "broken",
    [b"event: Error\ndata: It broke.\n\n", b"event: exception\ndata: It broke.\n\n", b"data: error: It broke.\n\n"],
)
async def test_error_in_mid_answer_is_a_failure_whatever_follows(broken: bytes) -> None:
    answer = await heard(CREATED + HELLO + broken + completed())
    assert answer.error is not None
    assert (answer.text, answer.error.code) == ("Hello", "model_failed")
    assert "It broke." in answer.error.message


async def test_call_of_a_tool_alone_is_a_failure() -> None:
    answer = await heard(CREATED + completed(output=[{"type": "function_call", "name": "x", "arguments": "{}"}]))
    assert answer.error is not None
    assert finish_reasons.CALLED_A_TOOL in answer.error.message


async def test_status_of_the_response_counts_beside_its_event() -> None:
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert (await heard(CREATED + HELLO + completed(**cut))).finish == Finish("length", None)


async def test_usage_of_no_tokens_is_left_to_the_estimate() -> None:
    used = {"input_tokens": 0, "output_tokens": 0}
    assert (await heard(CREATED + HELLO + completed(usage=used) + DONE)).finish == STOP


HEL = sent("output_text.delta", delta="Hel")
OTHER_ITEM: dict[str, Any] = {"type": "message", "content": [{"type": "output_text", "text": "Other words"}]}


@pytest.mark.parametrize("think_tags", [True, False])
@pytest.mark.parametrize(
    "stream",
    [
        CREATED + HEL + completed(output=[ITEM]),
        CREATED + HEL + sent("output_text.done", text="Hello") + completed(output=[ITEM]),
        CREATED + HEL + sent("output_text.done", text="Hello") + completed(),
        CREATED + HELLO + sent("output_text.done", text="Hello") + completed(output=[ITEM]),
        CREATED + HELLO + completed(output=[OTHER_ITEM]),
        CREATED + sent("output_text.delta", delta="Hel", sequence_number=1) + completed(output=[ITEM]),
    ],
)
async def test_whole_text_adds_what_the_deltas_lack(stream: bytes, think_tags: bool) -> None:
    answer = Heard()
    async with (
        raw_provider(reply(stream), GONE) as provider,
        model_at(provider.url, api="responses", think_tags=think_tags) as model,
    ):
        await answer.follow(model.stream(QUESTION))
    assert (answer.text, answer.finish) == ("Hello", STOP)
