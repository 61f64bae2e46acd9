"""A background response over connections that break: each token comes once, and is paid for once."""

import asyncio
import random
from typing import Literal

import pytest

from midsentence.events import Usage
from midsentence_worker.models import background_response, retry
from midsentence_worker.models.base import CannotResumeError, Finish, Mark
from tests.support.model_client import QUESTION, collect, collect_failure, model_at, text_of
from tests.support.upstream import Answer, Upstream, text_for
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

TOKENS = text_for("tokens=20 seed=4")
TEXT = "".join(TOKENS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(background_response, "_POLL_SECONDS", 0.01)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("every", [1, 2, 3, 7, 20])
async def test_cuts_after_every_kth_token_lose_nothing(upstream: Upstream, every: int, *, reset: bool) -> None:
    upstream.answers.append(Answer(tokens=TOKENS, cut_after=every, cuts=99, reset=reset))
    async with model_at(upstream.url, api="responses") as model:
        pieces = await collect(model)
    assert text_of(pieces) == TEXT
    assert pieces[-1] == Finish("stop", Usage(11, 7, "reported"))
    (response,) = upstream.responses
    assert response.generated == len(TOKENS)
    # Events that a reset lost may be sent again, but are not generated again.
    assert response.streamed >= len(TOKENS) // every


async def test_cut_within_a_character_loses_nothing(upstream: Upstream) -> None:
    upstream.answers.append(Answer(tokens=["a\ud83d", "\ude00b"], cut_after=1))
    async with model_at(upstream.url, api="responses") as model:
        assert text_of(await collect(model)) == "a😀b"


async def test_cuts_between_any_two_events_repeat_nothing(upstream: Upstream) -> None:
    """`response.output_text.done` holds the whole text again: it must not count as more of it after a break."""
    async with model_at(upstream.url, api="responses") as model:
        # Five events come before the tokens, and two behind them.
        for number in range(1, 5 + len(TOKENS) + 2):
            upstream.answers.append(Answer(tokens=TOKENS, cut_before_event=number))
            assert text_of(await collect(model)) == TEXT, f"cut before event {number}"


async def test_random_cuts_lose_and_repeat_nothing(upstream: Upstream) -> None:
    seed = random.randrange(10**6)
    print(f"seed={seed}")
    chance = random.Random(seed)
    async with model_at(upstream.url, api="responses") as model:
        for _ in range(10):
            tokens = text_for(f"tokens={chance.randrange(1, 40)} seed={chance.randrange(10**6)}")
            upstream.answers.append(
                Answer(tokens=tokens, reasoning=["Hm. "] * 3, cut_after=chance.randrange(1, 9), cuts=99, delay=0.001)
            )
            assert text_of(await collect(model)) == "".join(tokens)
    assert len(upstream.requests) == 10


async def test_silent_connection_is_replaced(upstream: Upstream) -> None:
    upstream.answers.append(Answer(tokens=TOKENS, stall_after=3))
    async with model_at(upstream.url, timeout_seconds=0.2, api="responses") as model:
        assert text_of(await collect(model)) == TEXT
    assert (upstream.responses[0].streamed, len(upstream.requests)) == (2, 1)


async def test_provider_is_retried_while_it_is_away(upstream: Upstream) -> None:
    answer = Answer(tokens=TOKENS, cut_after=3, gate=True)
    upstream.answers.append(answer)
    async with model_at(upstream.url, api="responses") as model:
        reader = asyncio.create_task(collect(model))
        await eventually(lambda: upstream.responses, description="the response was created")
        # The cut counts as one connection without new events.
        upstream.responses[0].refusals = background_response.MAX_SILENT_CONNECTIONS - 2
        answer.release_all()
        assert text_of(await reader) == TEXT
    assert (upstream.responses[0].refusals, upstream.responses[0].streamed) == (0, 2)


async def test_unreachable_response_fails_and_can_be_resumed(upstream: Upstream) -> None:
    answer = Answer(tokens=TOKENS, cut_after=3, gate=True)
    upstream.answers.append(answer)
    async with model_at(upstream.url, api="responses") as model:
        reader = asyncio.create_task(collect_failure(model))
        await eventually(lambda: upstream.responses, description="the response was created")
        upstream.responses[0].refusals = 99
        answer.release(3)
        text, failure = await reader
        assert (text, failure.code) == ("".join(TOKENS[:3]), "model_failed")
        assert upstream.responses[0].status == "in_progress"


async def test_model_that_stays_silent_stalls(upstream: Upstream) -> None:
    answer = Answer(tokens=TOKENS, gate=True)
    upstream.answers.append(answer)
    answer.release(3)
    async with model_at(upstream.url, timeout_seconds=0.1, api="responses") as model:
        text, failure = await collect_failure(model)
    assert (text, failure.code) == ("".join(TOKENS[:3]), "model_stalled")
    assert upstream.responses[0].streamed == background_response.MAX_SILENT_CONNECTIONS


async def test_closed_stream_leaves_the_response_resumable_by_its_mark(upstream: Upstream) -> None:
    answer = Answer(tokens=TOKENS, gate=True)
    upstream.answers.append(answer)
    answer.release(3)
    text, mark = "", ""
    async with model_at(upstream.url, api="responses") as model:
        stream = model.stream(QUESTION)
        while text != "".join(TOKENS[:3]) or not mark.endswith(f":{len(text)}"):
            piece = await anext(stream)
            text += text_of([piece])
            mark = piece.value if isinstance(piece, Mark) else mark
        await stream.aclose()
        await eventually(lambda: upstream.requests[0].disconnected, description="the upstream saw its client leave")
    answer.release_all()
    async with model_at(upstream.url, api="responses") as another:
        rest = await collect(another, mark=mark)
    assert text + text_of(rest) == TEXT
    (response,) = upstream.responses
    assert (response.generated, response.streamed, response.cancelled) == (len(TOKENS), 2, 0)


async def test_events_that_are_sent_again_are_ignored(upstream: Upstream) -> None:
    upstream.answers.append(Answer(tokens=TOKENS))
    async with model_at(upstream.url, api="responses") as model:
        pieces = await collect(model)
        upstream.responses[0].replays = True
        for number, piece in enumerate(pieces):
            if isinstance(piece, Mark):
                assert text_of(pieces[:number]) + text_of(await collect(model, mark=piece.value)) == TEXT


@pytest.mark.parametrize("instead", ["expired", "document"])
async def test_response_that_is_no_longer_streamed_is_polled(
    upstream: Upstream, instead: Literal["expired", "document"]
) -> None:
    """OpenAI streams a response for five minutes."""
    answer = Answer(tokens=TOKENS, cut_after=3, gate=True)
    upstream.answers.append(answer)
    async with model_at(upstream.url, api="responses") as model:
        reader = asyncio.create_task(collect(model))
        await eventually(lambda: upstream.responses, description="the response was created")
        (response,) = upstream.responses
        response.instead_of_stream = instead
        answer.release(3)
        await eventually(lambda: response.retrieved > 1, description="the model asked for the whole")
        answer.release_all()
        pieces = await reader
        assert text_of(pieces) == TEXT
        assert pieces[-1] == Finish("stop", Usage(11, 7, "reported"))
        # A worker that takes over before the end must not read the text again, even if the stream is back.
        response.instead_of_stream = None
        mark = pieces[-2]
        assert isinstance(mark, Mark)
        assert text_of(await collect(model, mark=mark.value)) == ""
    assert (response.generated, len(upstream.requests)) == (len(TOKENS), 1)


async def test_events_without_numbers_are_resumed_from_the_whole_text(upstream: Upstream) -> None:
    upstream.answers.append(Answer(tokens=TOKENS, cut_after=3, numbered=False))
    async with model_at(upstream.url, api="responses") as model:
        assert text_of(await collect(model)) == TEXT
    assert (upstream.responses[0].generated, len(upstream.requests)) == (len(TOKENS), 1)


async def test_forgotten_response_raises_cannot_resume(upstream: Upstream) -> None:
    async with model_at(upstream.url, api="responses") as model:
        with pytest.raises(CannotResumeError):
            await collect(model, mark="resp_9:4:7")


async def test_response_forgotten_in_mid_answer_is_truncated(upstream: Upstream) -> None:
    """The pieces that were yielded stay valid, so the error is no CannotResumeError."""
    upstream.answers.append(Answer(tokens=TOKENS, cut_after=3, delay=0.005))
    async with model_at(upstream.url, api="responses") as model:
        stream = model.stream(QUESTION)
        await anext(stream)
        upstream.responses.clear()
        with pytest.raises(Exception, match="broke off before its end") as failure:
            _ = [piece async for piece in stream]
    assert getattr(failure.value, "code", None) == "model_truncated"
