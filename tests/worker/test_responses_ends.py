"""How a background response ends early: it fails, or nobody wants it any more."""

import asyncio
import time

import pytest

from midsentence_worker.models import responses, retry
from midsentence_worker.models.base import Mark
from midsentence_worker.models.errors import ModelError
from tests.support.asking import QUESTION, answered, eventually, failed, model_at
from tests.support.upstream import Answer, Upstream

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize("event", [False, True], ids=["failed", "error"])
@pytest.mark.parametrize(
    ("said", "code"), [("server_error", "model_failed"), ("rate_limit_exceeded", "model_rate_limited")]
)
async def test_a_failure_is_told_in_the_providers_words(
    upstream: Upstream, said: str, code: str, *, event: bool
) -> None:
    upstream.answers.append(Answer(error_after=2, error_code=said, error_event=event))
    async with model_at(upstream.url, api="responses") as model:
        text, failure = await failed(model)
    assert (text, failure.code) == ("Hello, ", code)
    assert failure.message.endswith(" (The scripted model broke.)")


@pytest.mark.parametrize(
    ("status", "code", "asked"),
    [
        (400, "model_refused_request", 1),
        (401, "model_refused_key", 1),
        (404, "model_refused_request", 1),
        (429, "model_rate_limited", 3),
        (503, "model_failed", 3),
    ],
)
async def test_a_status_becomes_its_code(upstream: Upstream, status: int, code: str, asked: int) -> None:
    upstream.answers += [Answer(status=status)] * asked
    async with model_at(upstream.url, api="responses") as model:
        _, failure = await failed(model)
    assert (failure.code, len(upstream.requests)) == (code, asked)


async def test_a_server_without_the_api_points_at_the_setting(upstream: Upstream) -> None:
    upstream.answers.append(Answer(status=404))
    async with model_at(upstream.url, api="responses") as model:
        _, failure = await failed(model)
    expected = (
        f"{upstream.url} knows no model scripted, or no Responses API: "
        "check MIDSENTENCE_MODEL, MIDSENTENCE_API and OPENAI_BASE_URL. (scripted 404)"
    )
    assert failure.message == expected


async def test_a_web_page_instead_of_a_stream_points_at_the_address(upstream: Upstream) -> None:
    upstream.answers.append(Answer(body="<html>Welcome</html>"))
    async with model_at(upstream.url, api="responses") as model:
        _, failure = await failed(model)
    assert failure.code == "model_failed"
    assert "check OPENAI_BASE_URL" in failure.message


async def test_cancelling_ends_the_response_within_a_second(upstream: Upstream) -> None:
    answer = Answer(gate=True)
    upstream.answers.append(answer)
    answer.release()
    async with model_at(upstream.url, api="responses") as model:
        stream = model.stream(QUESTION)
        mark = await anext(stream)
        assert isinstance(mark, Mark)
        await stream.aclose()
        begun = time.monotonic()
        await model.cancel(mark.value)
    assert time.monotonic() - begun < 1
    assert upstream.responses[0].status == "cancelled"


async def test_cancelling_what_has_ended_or_is_forgotten_is_fine(upstream: Upstream) -> None:
    """Seen red with 400 and 404 left to raise."""
    async with model_at(upstream.url, api="responses") as model:
        marks = [piece.value for piece in await answered(model) if isinstance(piece, Mark)]
        await model.cancel(marks[-1])
        assert (upstream.responses[0].cancelled, upstream.responses[0].status) == (1, "completed")
        upstream.responses.clear()
        await model.cancel(marks[-1])


async def test_a_provider_that_does_not_confirm_a_cancellation_is_not_waited_for(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "_CANCEL_SECONDS", 0.1)
    upstream.responses.cancels = False
    async with model_at(upstream.url, api="responses") as model, asyncio.timeout(5):
        with pytest.raises(ModelError, match="did not confirm"):
            await model.cancel("resp_1:0:0")


async def test_an_answer_that_somebody_else_cancelled_has_failed(upstream: Upstream) -> None:
    """Seen red with the response's status ignored: the event's own name is `incomplete`, a fine ending."""
    answer = Answer(gate=True)
    upstream.answers.append(answer)
    async with model_at(upstream.url, api="responses") as model:
        reader = asyncio.create_task(failed(model))
        await eventually(lambda: upstream.responses, description="the response was created", seconds=10)
        await model.cancel("resp_1:0:0")
        _, failure = await reader
    assert (failure.code, failure.retryable) == ("model_failed", True)
    assert "cancelled" in failure.message


async def test_an_answer_that_is_abandoned_before_it_has_a_mark_is_cancelled(upstream: Upstream) -> None:
    """Nobody could ever find it again. Seen red with the shield around the request taken out."""
    upstream.answers.append(Answer(gate=True, late=0.2))
    async with model_at(upstream.url, api="responses") as model:
        reader = asyncio.create_task(answered(model))
        await eventually(lambda: upstream.requests, description="the upstream was asked", seconds=10)
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
    assert [response.status for response in upstream.responses] == ["cancelled"]
