"""Chat completions that continue a partial answer, over real HTTP."""

import pytest

from midsentence_worker.models.base import CannotResumeError, Message
from tests.support.model_client import QUESTION, collect, collect_failure, model_at, text_of
from tests.support.upstream import Answer, Upstream

pytestmark = pytest.mark.anyio

PARTIAL = Message("assistant", "Hello, ")


async def test_partial_answer_is_continued_and_not_repeated(upstream: Upstream) -> None:
    upstream.answers.append(Answer())
    async with model_at(upstream.url) as model:
        assert text_of(await collect(model, [*QUESTION, PARTIAL])) == "world."
    assert upstream.requests[0].sent == 2


async def test_partial_answer_is_sent_last_and_marked_for_continuation(upstream: Upstream) -> None:
    async with model_at(upstream.url) as model:
        await collect(model, [*QUESTION, PARTIAL])
        await collect(model)
    going_on, anew = upstream.requests
    assert going_on.messages[-1] == {"role": "assistant", "content": "Hello, "}
    assert (going_on.body["continue_final_message"], going_on.body["add_generation_prompt"]) == (True, False)
    # Servers refuse parameters that they do not know, so a request for a new answer must not hold them.
    assert not {"continue_final_message", "add_generation_prompt"} & anew.body.keys()


@pytest.mark.parametrize("status", [400, 422])
async def test_refusal_raises_cannot_resume(upstream: Upstream, status: int) -> None:
    upstream.answers += [Answer(status=status)] * 2  # the second time without stream_options
    async with model_at(upstream.url, key="sk-mine") as model:
        with pytest.raises(CannotResumeError, match="refused the request") as refusal:
            await collect(model, [*QUESTION, PARTIAL])
    assert "sk-mine" not in str(refusal.value)


@pytest.mark.parametrize(("status", "code"), [(401, "model_refused_key"), (503, "model_failed")])
async def test_other_errors_are_not_taken_for_a_refusal(upstream: Upstream, status: int, code: str) -> None:
    upstream.answers.append(Answer(status=status, headers={"x-should-retry": "false"}))
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model, [*QUESTION, PARTIAL])
    assert failure.code == code


async def test_takeover_is_restart_by_default(upstream: Upstream) -> None:
    """A server that ignores the partial answer would start a second one after it, and no reply reveals that."""
    async with model_at(upstream.url) as model:
        assert model.takeover == "restart"
        await model.cancel("")
    assert upstream.log == []
