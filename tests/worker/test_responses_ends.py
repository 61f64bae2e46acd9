"""Background responses that end early: they fail, or are cancelled."""

import asyncio
import time

import pytest

from midsentence_worker.models import responses, retry
from midsentence_worker.models.base import Mark
from midsentence_worker.models.errors import ModelError
from tests.support.model_client import QUESTION, collect, collect_failure, model_at
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize("event", [False, True], ids=["failed", "error"])
@pytest.mark.parametrize(
    ("error_code", "code"), [("server_error", "model_failed"), ("rate_limit_exceeded", "model_rate_limited")]
)
async def test_failure_quotes_the_provider(upstream: Upstream, error_code: str, code: str, *, event: bool) -> None:
    upstream.answers.append(Answer(error_after=2, error_code=error_code, error_event=event))
    async with model_at(upstream.url, api="responses") as model:
        text, failure = await collect_failure(model)
    assert (text, failure.code) == ("Hello, ", code)
    assert failure.message.endswith(" (The scripted model broke.)")


@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [
        (400, "model_refused_request", 1),
        (401, "model_refused_key", 1),
        (404, "model_refused_request", 1),
        (429, "model_rate_limited", 3),
        (503, "model_failed", 3),
    ],
)
async def test_status_becomes_its_code(upstream: Upstream, status: int, code: str, requests: int) -> None:
    upstream.answers += [Answer(status=status)] * requests
    async with model_at(upstream.url, api="responses") as model:
        _, failure = await collect_failure(model)
    assert (failure.code, len(upstream.requests)) == (code, requests)


async def test_missing_api_names_the_settings(upstream: Upstream) -> None:
    upstream.answers.append(Answer(status=404))
    async with model_at(upstream.url, api="responses") as model:
        _, failure = await collect_failure(model)
    expected = (
        "The provider of scripted knows no model scripted, or no Responses API: "
        "check MIDSENTENCE_MODEL, MIDSENTENCE_API and OPENAI_BASE_URL. (scripted 404)"
    )
    assert failure.message == expected


async def test_web_page_instead_of_a_stream_points_at_the_address(upstream: Upstream) -> None:
    upstream.answers.append(Answer(body="<html>Welcome</html>"))
    async with model_at(upstream.url, api="responses") as model:
        _, failure = await collect_failure(model)
    assert failure.code == "model_failed"
    assert "check OPENAI_BASE_URL" in failure.message


async def test_cancel_ends_the_response_within_a_second(upstream: Upstream) -> None:
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


async def test_cancel_of_an_ended_or_forgotten_response_succeeds(upstream: Upstream) -> None:
    async with model_at(upstream.url, api="responses") as model:
        marks = [piece.value for piece in await collect(model) if isinstance(piece, Mark)]
        await model.cancel(marks[-1])
        assert (upstream.responses[0].cancelled, upstream.responses[0].status) == (1, "completed")
        upstream.responses.clear()
        await model.cancel(marks[-1])


async def test_unconfirmed_cancellation_times_out(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "_CANCEL_SECONDS", 0.1)
    upstream.responses.cancels = False
    async with model_at(upstream.url, api="responses") as model, asyncio.timeout(5):
        with pytest.raises(ModelError, match="did not confirm"):
            await model.cancel("resp_1:0:0")


async def test_response_cancelled_by_another_client_is_a_failure(upstream: Upstream) -> None:
    answer = Answer(gate=True)
    upstream.answers.append(answer)
    async with model_at(upstream.url, api="responses") as model:
        reader = asyncio.create_task(collect_failure(model))
        await eventually(lambda: upstream.responses, description="the response was created")
        await model.cancel("resp_1:0:0")
        _, failure = await reader
    assert (failure.code, failure.retryable) == ("model_failed", True)
    assert "cancelled" in failure.message


async def test_response_abandoned_before_its_first_mark_is_cancelled(upstream: Upstream) -> None:
    """Without a mark no worker could find the response again."""
    upstream.answers.append(Answer(gate=True, first_event_delay=0.2))
    async with model_at(upstream.url, api="responses") as model:
        reader = asyncio.create_task(collect(model))
        await eventually(lambda: upstream.requests, description="the upstream got the request")
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
    assert [response.status for response in upstream.responses] == ["cancelled"]
