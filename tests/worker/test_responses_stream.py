"""The pieces of a background response, over real HTTP."""

from contextlib import aclosing

import pytest

from midsentence.events import Delta, Reasoning, Usage
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Message, Piece
from tests.support.model_client import QUESTION, collect, model_at, text_of
from tests.support.upstream import Answer, Upstream, text_for

pytestmark = pytest.mark.anyio


def without_marks(pieces: list[Piece]) -> list[Piece]:
    return [piece for piece in pieces if not isinstance(piece, Mark)]


async def test_pieces_keep_their_order_and_usage_comes_last(upstream: Upstream) -> None:
    upstream.answers.append(Answer(reasoning=["Hm. "], tokens=["Good ", "morning"], usage=(12, 3)))
    async with model_at(upstream.url, api="responses") as model:
        pieces = await collect(model)
    expected = [Reasoning("Hm. "), Delta("Good "), Delta("morning"), Finish("stop", Usage(12, 3, "reported"))]
    assert without_marks(pieces) == expected


async def test_request_asks_for_a_background_response(upstream: Upstream) -> None:
    conversation = [
        Message("system", "Be brief."),
        Message("user", "你好"),
        Message("assistant", "你好！"),
        Message("user", "And now?"),
    ]
    async with model_at(upstream.url, key="sk-mine", api="responses") as model:
        await collect(model, conversation)
        assert (model.name, model.takeover) == ("scripted", "reattach")
    (request,) = upstream.requests
    assert request.path == "/v1/responses"
    assert request.headers["authorization"] == "Bearer sk-mine"
    assert request.body == {
        "model": "scripted",
        "instructions": "Be brief.",
        "input": [{"role": role, "content": text} for role, text in conversation[1:]],
        "background": True,
        "store": True,
        "stream": True,
    }


async def test_token_is_yielded_before_the_next_is_sent(upstream: Upstream) -> None:
    answer = Answer(tokens=["one", "two"], gate=True)
    upstream.answers.append(answer)
    async with model_at(upstream.url, api="responses") as model, aclosing(model.stream(QUESTION)) as pieces:
        # Marks come before any text: a turn whose worker dies while the model reasons can be resumed too.
        assert [await anext(pieces) for _ in range(3)] == [Mark(f"resp_1:{number}:0") for number in range(3)]
        answer.release()
        assert await anext(pieces) == Delta("one")
        assert upstream.responses[0].generated == 1
        answer.release_all()
        assert [piece async for piece in pieces if isinstance(piece, Delta)] == [Delta("two")]


@pytest.mark.parametrize("seed", range(3))
async def test_each_mark_covers_exactly_the_text_before_it(upstream: Upstream, seed: int) -> None:
    tokens = text_for(f"tokens=12 seed={seed}")
    upstream.answers.append(Answer(tokens=tokens, reasoning=["Hm. ", "So. "], split_utf8=True))
    async with model_at(upstream.url, api="responses") as model:
        pieces = await collect(model)
        assert text_of(pieces) == "".join(tokens)
        for number, piece in enumerate(pieces):
            if isinstance(piece, Mark):
                rest = await collect(model, mark=piece.value)
                assert without_marks(rest) == without_marks(pieces[number:])
    assert len(upstream.responses) == 1


async def test_character_split_between_events_is_joined_before_its_mark(upstream: Upstream) -> None:
    upstream.answers.append(Answer(tokens=["a\ud83d", "\ude00b", "\ud83d"]))
    async with model_at(upstream.url, api="responses") as model:
        pieces = await collect(model)
        assert [piece for piece in pieces if isinstance(piece, Delta)] == [Delta("a😀b"), Delta("\ufffd")]
        for number, piece in enumerate(pieces):
            if isinstance(piece, Mark):
                rest = await collect(model, mark=piece.value)
                assert text_of(pieces[:number]) + text_of(rest) == "a😀b\ufffd"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("anything", "length")],
)
async def test_every_end_becomes_one_of_three_reasons(upstream: Upstream, finish: str, reason: str) -> None:
    upstream.answers.append(Answer(finish=finish, usage=None))
    async with model_at(upstream.url, api="responses") as model:
        end = (await collect(model))[-1]
    assert end == Finish(reason, None)  # pyright: ignore[reportArgumentType]


async def test_partial_answer_cannot_be_continued(upstream: Upstream) -> None:
    """The API would take the partial answer for a finished one and begin another."""
    async with model_at(upstream.url, api="responses") as model:
        with pytest.raises(CannotResumeError):
            await collect(model, [*QUESTION, Message("assistant", "Yes, ")])
    assert upstream.requests == []


async def test_mark_of_another_model_is_refused_without_a_request(upstream: Upstream) -> None:
    async with model_at(upstream.url, api="responses") as model:
        for mark in ("x", "resp_1:3", "resp_1:a:b"):
            with pytest.raises(CannotResumeError):
                await collect(model, mark=mark)
    assert upstream.log == []
