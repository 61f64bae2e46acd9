"""An answer that breaks off is taken up again by the same worker."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from midsentence.events import Reasoning, Usage
from midsentence.jobs import Claim
from midsentence.log import Lease
from midsentence_worker import recovery
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Message, Piece
from midsentence_worker.models.errors import ModelError
from midsentence_worker.progress import Progress
from tests.support.turns import (
    QUESTION,
    SESSION,
    STOP,
    ClosedBreakers,
    RecordingLog,
    ScriptedModel,
    cut,
    down,
    refused,
    run_turn,
    running_turn,
    text,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

Script = list[Piece | Callable[[], Exception]]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_FIRST_PAUSE_SECONDS", 0.001)


async def test_broken_answer_begins_anew() -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), cut], [*text("Hello", "."), STOP])
    await run_turn(log, model)
    assert log.told() == ["start 1 a", "text Hel", "reset 2", "start 2 a", "text Hello.", "end stop"]
    assert [request.messages for request in model.requests] == [[QUESTION]] * 2


async def test_reset_tells_why_in_words() -> None:
    log = RecordingLog()
    await run_turn(log, ScriptedModel("a", [*text("Hel"), cut], [*text("Hello"), STOP]))
    assert next(data for kind, data in log.events if kind == "reset") == {"attempt": 2, "why": "It broke off."}


async def test_broken_answer_is_continued_where_the_model_can() -> None:
    log = RecordingLog()
    model = ScriptedModel(
        "a", [Reasoning("Hm."), *text("Hel"), cut], [Reasoning("Hm."), *text("lo"), cut], [*text("."), STOP],
        takeover="continue",
    )  # fmt: skip
    await run_turn(log, model)
    assert log.told() == [
        *("start 1 a", "reasoning Hm.", "text Hel", "start 2 a", "text lo", "start 3 a", "text .", "end stop")
    ]
    assert [request.messages[1:] for request in model.requests] == [
        [],
        [Message("assistant", "Hel")],
        [Message("assistant", "Hello")],
    ]


async def test_broken_response_is_read_on() -> None:
    log = RecordingLog()
    model = ScriptedModel(
        "a", [Mark("r:0"), *text("Hel"), Mark("r:1"), cut], [*text("lo"), Mark("r:2"), STOP], takeover="reattach"
    )
    await run_turn(log, model)
    assert log.told() == ["start 1 a", "text Hel", "start 2 a", "text lo", "end stop"]
    assert [request.mark for request in model.requests] == ["", "r:1"]
    assert model.cancelled == []
    assert "attempts" not in log.end["usage"]


async def test_response_that_the_provider_ended_begins_anew() -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [Mark("r"), *text("Hel"), Mark(""), cut], [*text("Hello"), STOP], takeover="reattach")
    await run_turn(log, model)
    assert log.told() == ["start 1 a", "text Hel", "reset 2", "start 2 a", "text Hello", "end stop"]
    assert model.cancelled == []


@pytest.mark.parametrize(
    "refusal", [lambda: CannotResumeError("gone"), lambda: ModelError("model_failed", "Gone.")], ids=["gone", "failed"]
)
async def test_response_that_the_provider_lost_begins_anew_and_is_cancelled(refusal: Callable[[], Exception]) -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [Mark("r"), *text("Hel"), cut], [refusal], [*text("Hello"), STOP], takeover="reattach")
    await run_turn(log, model)
    assert log.told()[-4:] == [log.told()[-4], log.told()[-3], "text Hello", "end stop"]
    assert log.told()[-4].startswith("reset")
    assert model.cancelled == ["r"]


async def test_answer_that_cannot_be_continued_begins_anew() -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), cut], [CannotResumeError], [*text("Hello"), STOP], takeover="continue")
    await run_turn(log, model)
    assert log.told() == [*("start 1 a", "text Hel", "start 2 a", "reset 3", "start 3 a", "text Hello", "end stop")]


@pytest.mark.parametrize("failure", [down, refused, lambda: ModelError("model_rate_limited", ".", retry_after=99)])
async def test_fallback_answers_where_a_model_does_not(failure: Callable[[], Exception]) -> None:
    log = RecordingLog()
    models = ScriptedModel("a", [failure]), ScriptedModel("b", [*text("Hello"), STOP])
    await run_turn(log, *models)
    assert log.told() == ["start 1 a", "start 2 b", "text Hello", "end stop"]
    assert log.named == ["b"]
    assert len(models[0].requests) == 1


async def test_fallback_answers_where_a_model_breaks_again_and_again() -> None:
    log = RecordingLog()
    models = ScriptedModel("a", [*text("Hel"), cut]), ScriptedModel("b", [*text("Hello"), STOP])
    await run_turn(log, *models)
    assert log.told()[-4:] == ["reset 4", "start 4 b", "text Hello", "end stop"]
    assert len(models[0].requests) == 3


async def test_fallback_continues_the_text_of_another_model_where_it_can() -> None:
    log = RecordingLog()
    models = (
        ScriptedModel("a", [*text("Hel"), cut], [refused]),
        ScriptedModel("b", [*text("lo"), STOP], takeover="continue"),
    )
    await run_turn(log, *models)
    assert models[1].requests[0].messages == [QUESTION, Message("assistant", "Hel")]
    assert log.told() == ["start 1 a", "text Hel", "start 3 b", "text lo", "end stop"]


async def test_text_stays_where_no_further_attempt_brings_any() -> None:
    log = RecordingLog()
    await run_turn(log, ScriptedModel("a", [*text("Hel"), cut], [down]), heal_attempts=3)
    assert log.told() == ["start 1 a", "text Hel", "end error"]
    assert log.end["error"]["code"] == "model_unreachable"
    assert "attempts" not in log.end["usage"]


async def test_response_of_a_model_that_is_left_is_cancelled() -> None:
    log = RecordingLog()
    models = (
        ScriptedModel("a", [Mark("r"), *text("Hel"), cut], [refused], takeover="reattach"),
        ScriptedModel("b", [*text("Hello"), STOP]),
    )
    await run_turn(log, *models)
    assert log.told()[-3:] == ["start 3 b", "text Hello", "end stop"]
    assert models[0].cancelled == ["r"]


async def test_usage_of_all_attempts_adds_up() -> None:
    log = RecordingLog()
    models = (
        ScriptedModel("a", [*text("Hello, all of you."), cut], [refused]),
        ScriptedModel("b", [*text("Hello"), Finish("stop", Usage(20, 3, "reported"))]),
    )
    await run_turn(log, *models)
    usage = log.end["usage"]
    first, second = usage["attempts"]
    assert (first["model"], first["source"]) == ("a", "estimated")
    assert second == {"model": "b", "input_tokens": 20, "output_tokens": 3, "source": "reported"}
    assert usage["input_tokens"] == first["input_tokens"] + 20
    assert usage["output_tokens"] == first["output_tokens"] + 3
    assert usage["source"] == "estimated"


async def test_turn_without_a_model_left_ends_with_the_last_failure() -> None:
    log = RecordingLog()
    await run_turn(log, ScriptedModel("a", [down]), ScriptedModel("b", [refused]))
    assert log.told() == ["start 1 a", "start 2 b", "end error"]
    assert log.end["error"] == {"code": "model_refused_request", "message": "No.", "retryable": False}


@pytest.mark.parametrize(
    ("settings", "attempts"),
    [({"heal_attempts": 0}, 1), ({"heal_attempts": 2}, 3), ({"heal_tokens": 0}, 1), ({"takeover": "fail"}, 1)],
)
async def test_attempts_and_tokens_are_limited(settings: dict[str, Any], attempts: int) -> None:
    log = RecordingLog()
    takeover = settings.pop("takeover", "restart")
    model = ScriptedModel("a", [*text("Hel"), cut], takeover=takeover)
    await run_turn(log, model, **settings)
    assert len(model.requests) == attempts
    assert log.end["error"]["code"] == "model_truncated"
    # What readers have of the last attempt stays.
    assert log.told()[-2:] == ["text Hel", "end error"]


async def test_stop_in_a_pause_ends_the_turn_and_keeps_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_FIRST_PAUSE_SECONDS", 8)
    log = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), cut])
    async with running_turn(log, [model]) as (turn, task):
        await eventually(lambda: log.told()[-1:] == ["text Hel"], description="the answer broke off")
        turn.writer.stop()
        async with asyncio.timeout(5):
            await task
    assert log.told() == ["start 1 a", "text Hel", "end stopped"]


async def test_defect_ends_the_turn_once() -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), lambda: ValueError("a defect")])
    await run_turn(log, model, ScriptedModel("b"))
    assert len(model.requests) == 1
    assert log.end["error"]["code"] == "internal"


async def test_next_worker_goes_on_with_what_was_spent() -> None:
    """The progress is stored with the events, so that limits and usage outlive a worker."""
    first = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), cut], [*text("Hello")])
    async with running_turn(first, [model, ScriptedModel("b")]) as _:
        await eventually(lambda: first.told()[-1:] == ["text Hello"], description="the second attempt has begun")
    progress, mark = Progress.of(first.marks[-1])
    assert (progress.attempt, progress.model, progress.retries, len(progress.spent), mark) == (2, "a", 1, 1, "")
    before = [(kind, data) for kind, data in first.events if kind != "start"]
    second = RecordingLog(before)
    claim = Claim(Lease(SESSION, 1, 2, "w"), len(first.events), 2, mark=first.marks[-1])
    await run_turn(second, ScriptedModel("a", [*text("Hello."), STOP]), claim=claim)
    assert second.told() == ["reset 3", "start 3 a", "text Hello.", "end stop"]
    assert len(second.end["usage"]["attempts"]) == 3


async def test_next_worker_asks_the_model_that_answered() -> None:
    progress = Progress(2, "b", retries=1)
    log = RecordingLog([("delta", {"text": "Hel"})])
    models = ScriptedModel("a"), ScriptedModel("b", [*text("lo"), STOP], takeover="reattach")
    claim = Claim(Lease(SESSION, 1, 2, "w"), 4, 2, mark=progress.prefix() + "r:1")
    await run_turn(log, *models, claim=claim)
    assert log.told() == ["start 3 b", "text lo", "end stop"]
    assert models[1].requests[0].mark == "r:1"


async def test_model_with_an_open_breaker_is_not_asked() -> None:
    log, breakers = RecordingLog(), ClosedBreakers({"a": [5.0]})
    models = ScriptedModel("a"), ScriptedModel("b", [*text("Hello"), STOP])
    await run_turn(log, *models, breakers=breakers)
    assert log.told() == ["start 1 b", "text Hello", "end stop"]
    assert (breakers.failures, breakers.successes) == ([], ["b"])


async def test_only_model_is_waited_for_while_its_breaker_is_open() -> None:
    log, breakers = RecordingLog(), ClosedBreakers({"a": [0.01, 0.01]})
    await run_turn(log, ScriptedModel("a", [*text("Hello"), STOP]), breakers=breakers)
    assert log.told() == ["start 1 a", "text Hello", "end stop"]


async def test_turn_fails_where_its_only_model_stays_away() -> None:
    log, breakers = RecordingLog(), ClosedBreakers({"a": [60.0]})
    await run_turn(log, ScriptedModel("a"), breakers=breakers)
    assert log.told() == ["end error"]
    assert log.end["error"]["code"] == "model_unreachable"
    assert "ask again in 60 seconds. (Nobody answered.)" in log.end["error"]["message"]


async def test_breaker_counts_failures_without_text_alone() -> None:
    log, breakers = RecordingLog(), ClosedBreakers()
    models = ScriptedModel("a", [down]), ScriptedModel("b", [*text("Hel"), cut], [refused])
    await run_turn(log, *models, breakers=breakers)
    # b refused one request, and a was down twice.
    assert set(breakers.failures) == {"a"}
    assert breakers.successes == ["b"]


async def test_turn_that_is_stopped_before_the_first_token_gives_its_probe_back() -> None:
    log, breakers = RecordingLog(), ClosedBreakers()
    async with running_turn(log, [ScriptedModel("a", [])], breakers=breakers) as (turn, task):
        await eventually(log.told, description="the model was asked")
        turn.writer.stop()
        await task
    assert breakers.released_probes == ["a"]
    assert log.told() == ["start 1 a", "end stopped"]
