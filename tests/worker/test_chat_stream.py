"""The pieces of a chat completion, over real HTTP."""

import asyncio
import json
from contextlib import aclosing

import pytest

from midsentence.events import Delta, Reasoning, Usage
from midsentence_worker.models import chat_stream
from midsentence_worker.models.base import Finish, Message
from tests.support.model_client import QUESTION, collect, model_at, text_of
from tests.support.upstream import Answer, Upstream, text_for
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


def chunk(delta: object, finish: str | None = None) -> bytes:
    return (
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"
    )


async def test_pieces_keep_their_order_and_usage_comes_last(upstream: Upstream) -> None:
    upstream.answers.append(Answer(tokens=["Good ", "morning"], usage=(12, 3)))
    async with model_at(upstream.url) as model:
        pieces = await collect(model)
    assert [Delta("Good "), Delta("morning"), Finish("stop", Usage(12, 3, "reported"))] == pieces


async def test_request_holds_the_conversation_and_the_models_name(upstream: Upstream) -> None:
    conversation = [
        Message("system", "Be brief."),
        Message("user", "你好"),
        Message("assistant", "你好！"),
        Message("user", "And now?"),
    ]
    async with model_at(upstream.url, key="sk-mine") as model:
        await collect(model, conversation)
    (request,) = upstream.requests
    assert [{"role": role, "content": text} for role, text in conversation] == request.messages
    assert request.body["model"] == model.name == "scripted"
    assert request.headers["authorization"] == "Bearer sk-mine"


async def test_token_is_yielded_before_the_next_is_sent(upstream: Upstream) -> None:
    answer = Answer(tokens=["one", "two"], gate=True)
    upstream.answers.append(answer)
    async with model_at(upstream.url) as model, aclosing(model.stream(QUESTION)) as pieces:
        answer.release()
        assert await anext(pieces) == Delta("one")
        # The upstream counts a token after it was sent, in a thread of its own.
        await eventually(lambda: upstream.requests[0].sent, description="the upstream counted its token")
        assert upstream.requests[0].sent == 1
        answer.release_all()
        assert await anext(pieces) == Delta("two")


@pytest.mark.parametrize("seed", range(3))
async def test_characters_split_between_network_chunks_are_joined(upstream: Upstream, seed: int) -> None:
    tokens = text_for(f"tokens=60 seed={seed}")
    upstream.answers.append(Answer(tokens=tokens, split_utf8=True))
    async with model_at(upstream.url) as model:
        assert text_of(await collect(model)) == "".join(tokens)


async def test_characters_split_between_events_are_joined(upstream: Upstream) -> None:
    upstream.answers.append(
        Answer(raw=[chunk({"content": "a\ud83d"}), chunk({"content": "\ude00b\ud83d"}), chunk({}, "stop")])
    )
    async with model_at(upstream.url) as model:
        pieces = await collect(model)
    assert [Delta("a"), Delta("😀b"), Delta("\ufffd"), Finish("stop", None)] == pieces


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_separated_from_text(upstream: Upstream, field: str) -> None:
    upstream.answers.append(Answer(reasoning=["Hm. "], reasoning_field=field, tokens=["Yes."]))
    async with model_at(upstream.url) as model:
        assert (await collect(model))[:-1] == [Reasoning("Hm. "), Delta("Yes.")]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("eos", "stop"),
    ],
)
async def test_every_finish_reason_becomes_one_of_three(upstream: Upstream, finish: str, reason: str) -> None:
    upstream.answers.append(Answer(finish=finish, usage=None))
    async with model_at(upstream.url) as model:
        end = (await collect(model))[-1]
    assert isinstance(end, Finish)
    assert end.reason == reason


async def test_usage_beside_the_finish_reason_is_used(upstream: Upstream) -> None:
    upstream.answers.append(Answer(usage=(5, 4), usage_in_finish=True))
    async with model_at(upstream.url) as model:
        assert (await collect(model))[-1] == Finish("stop", Usage(5, 4, "reported"))


async def test_missing_usage_is_none(upstream: Upstream) -> None:
    upstream.answers.append(Answer(usage=None))
    async with model_at(upstream.url) as model:
        assert (await collect(model))[-1] == Finish("stop", None)


@pytest.mark.parametrize("done", [True, False])
async def test_finished_answer_needs_no_done(upstream: Upstream, *, done: bool) -> None:
    upstream.answers.append(Answer(done=done))
    async with model_at(upstream.url) as model:
        assert (await collect(model))[-1] == Finish("stop", Usage(11, 7, "reported"))


async def test_connection_that_stays_open_does_not_delay_the_end(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_stream, "TAIL_SECONDS", 0.05)
    upstream.answers.append(Answer(tokens=["Yes."], usage=None, done=False, linger=True))
    async with model_at(upstream.url) as model, asyncio.timeout(5):
        assert await collect(model) == [Delta("Yes."), Finish("stop", None)]


async def test_empty_chunks_are_ignored(upstream: Upstream) -> None:
    upstream.answers.append(
        Answer(
            raw=[
                b": keep-alive\n\n",
                b"data: {}\r\n\r\n",
                b'data: {"choices": null}\n\n',
                b'data: {"choices": []}\n\n',
                b'data: {"choices": [{}]}\n\n',
                b'data: {"choices": [{"delta": null}]}\n\n',
                b'data: {"choices": [{"delta": {"content": "Yes."}, "finish_reason": ""}], "usage": null}\n\n',
                chunk({"role": "assistant", "content": None}),
                chunk({"content": ""}),
                chunk({"content": 5}),
                b"data: []\n\n",
                chunk({}, "stop"),
                b'data: {"choices": [], "usage": {"prompt_tokens": null}}\n\n',
                b"data: [DONE]\n\n",
            ]
        )
    )
    async with model_at(upstream.url) as model:
        assert await collect(model) == [Delta("Yes."), Finish("stop", None)]


async def test_refused_stream_options_are_left_out_from_then_on(upstream: Upstream) -> None:
    upstream.answers += [Answer(refuses_stream_options=True), Answer(refuses_stream_options=True)]
    async with model_at(upstream.url) as model:
        assert text_of(await collect(model)) == text_of(await collect(model)) == "Hello, world."
    assert ["stream_options" in request.body for request in upstream.requests] == [True, False, False]


async def test_closing_the_stream_closes_the_upstream_call(upstream: Upstream) -> None:
    answer = Answer(gate=True)
    upstream.answers.append(answer)
    answer.release()
    async with model_at(upstream.url) as model:
        pieces = model.stream(QUESTION)
        await anext(pieces)
        await pieces.aclose()
        await eventually(lambda: upstream.requests[0].disconnected, description="the upstream saw its client leave")
    assert upstream.requests[0].sent == 1


@pytest.mark.parametrize(
    "answer", [Answer(gate=True), Answer(no_reply=True)], ids=["in mid-answer", "before the answer"]
)
async def test_cancelling_the_reader_closes_the_upstream_call(upstream: Upstream, answer: Answer) -> None:
    upstream.answers.append(answer)
    async with model_at(upstream.url) as model:
        reader = asyncio.create_task(collect(model))
        await eventually(lambda: upstream.requests, description="the upstream got the request")
        reader.cancel()
        await eventually(lambda: upstream.requests[0].disconnected, description="the upstream saw its client leave")
        await asyncio.wait([reader])
    assert reader.cancelled()


async def test_connection_is_reused(upstream: Upstream) -> None:
    async with model_at(upstream.url) as model:
        for number in range(3):
            assert text_of(await collect(model, [Message("user", f"{number}")])) == f"You asked: {number}"
    assert upstream.connections == 1
