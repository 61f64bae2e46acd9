"""An attempt that has brought nothing yet, a pause, and a takeover in each of these states."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from midsentence.errors import FencedError
from midsentence.events import Reasoning, Usage
from midsentence.jobs import Claim
from midsentence.log import Lease
from midsentence_worker import recovery
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Piece
from midsentence_worker.models.errors import ModelError
from midsentence_worker.progress import Progress, Waiting
from tests.support.turns import (
    SESSION,
    STOP,
    ClosedBreakers,
    RecordingLog,
    ScriptedModel,
    cut,
    down,
    run_turn,
    running_turn,
    text,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_FIRST_PAUSE_SECONDS", 0.001)


async def until_asked(model: ScriptedModel, times: int) -> None:
    await eventually(lambda: len(model.requests) == times, description=f"the model was asked {times} times")
    for _ in range(20):
        await asyncio.sleep(0)


def taken_over(log: RecordingLog, *, attempt: int = 2) -> tuple[RecordingLog, Claim]:
    """The log and the claim of the worker that follows the one which wrote `log`."""
    claim = Claim(Lease(SESSION, 1, 2, "w2"), len(log.events), attempt, mark=log.marks[-1] if log.marks else "")
    return RecordingLog(log.events), claim


class Probes(ClosedBreakers):
    """Circuit breakers whose every request is a probe."""

    def __init__(self) -> None:
        super().__init__()
        self.probed: set[str] = set()

    async def admit(self, model: str) -> float:
        self.probed.add(model)
        return 0.0

    async def failed(self, model: str, failure: Any, retry_after: float | None = None) -> None:
        self.probed.discard(model)
        await super().failed(model, failure, retry_after)

    async def succeeded(self, model: str) -> None:
        self.probed.discard(model)
        await super().succeeded(model)

    async def released(self, model: str) -> None:
        self.probed.discard(model)
        await super().released(model)


async def test_answer_that_does_not_break_stores_nothing_but_its_events() -> None:
    log, breakers = RecordingLog(), ClosedBreakers()
    await run_turn(log, ScriptedModel("a", [*text("Hel", "lo"), STOP]), breakers=breakers)
    assert log.told() == ["start 1 a", "text Hello", "end stop"]
    assert (log.marks, log.named, breakers.failures, breakers.released_probes) == ([], [], [], [])


async def test_text_stays_while_no_model_of_the_list_may_be_asked() -> None:
    log, breakers = RecordingLog(), ClosedBreakers({"a": [0.0, 60.0], "b": [60.0]})
    models = ScriptedModel("a", [*text("Hel"), cut]), ScriptedModel("b")
    await run_turn(log, *models, breakers=breakers)
    assert log.told() == ["start 1 a", "text Hel", "end error"]
    assert log.end["error"]["message"] == "It broke off."
    assert (len(models[0].requests), len(models[1].requests)) == (1, 0)


async def test_text_waits_for_the_first_model_that_may_be_asked() -> None:
    log, breakers = RecordingLog(), ClosedBreakers({"a": [0.0, 20.0], "b": [0.05]})
    models = ScriptedModel("a", [*text("Hel"), cut]), ScriptedModel("b", [*text("Hello"), STOP])
    await run_turn(log, *models, breakers=breakers)
    assert log.told() == ["start 1 a", "text Hel", "reset 2", "start 2 b", "text Hello", "end stop"]


async def test_empty_answer_does_not_replace_a_text() -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), cut], [Finish("stop", Usage(7, 0, "reported"))])
    await run_turn(log, model, heal_attempts=2)
    assert log.told() == ["start 1 a", "text Hel", "end error"]
    assert (log.end["error"]["code"], len(model.requests)) == ("model_failed", 3)
    assert [usage["source"] for usage in log.end["usage"]["attempts"]] == ["estimated", "reported", "reported"]


async def test_answer_follows_an_empty_one() -> None:
    log = RecordingLog()
    await run_turn(log, ScriptedModel("a", [*text("Hel"), cut], [STOP], [*text("Hello"), STOP]))
    assert log.told() == ["start 1 a", "text Hel", "reset 3", "start 3 a", "text Hello", "end stop"]


async def test_continuation_may_be_empty() -> None:
    log = RecordingLog()
    await run_turn(log, ScriptedModel("a", [*text("Hello"), cut], [STOP], takeover="continue"))
    assert log.told() == ["start 1 a", "text Hello", "start 2 a", "end stop"]


async def test_empty_first_answer_closes_the_breaker() -> None:
    breakers = Probes()
    await run_turn(RecordingLog(), ScriptedModel("a", [STOP]), breakers=breakers)
    assert breakers.successes == ["a"]


async def test_response_that_has_only_begun_does_not_replace_a_text() -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), cut], [Mark("r"), Mark("r:1"), down], takeover="reattach")
    await run_turn(log, model, heal_attempts=2)
    assert log.told() == ["start 1 a", "text Hel", "end error"]


async def test_response_that_has_only_begun_is_read_on() -> None:
    log = RecordingLog()
    model = ScriptedModel(
        "a", [*text("Hel"), cut], [Mark("r:0"), down], [*text("Hello"), Mark("r:1"), STOP], takeover="reattach"
    )
    await run_turn(log, model)
    assert [request.mark for request in model.requests] == ["", "", "r:0"]
    assert log.told() == ["start 1 a", "text Hel", "reset 3", "start 3 a", "text Hello", "end stop"]
    assert model.cancelled == []


async def test_response_that_has_only_begun_is_cancelled_when_another_model_answers() -> None:
    log = RecordingLog()
    models = (
        ScriptedModel("a", [*text("Hel"), cut], [Mark("r"), lambda: ModelError("model_refused_request", "No.")]),
        ScriptedModel("b", [*text("Hello"), STOP]),
    )
    await run_turn(log, *models)
    assert log.told()[-3:] == ["start 3 b", "text Hello", "end stop"]
    assert models[0].cancelled == ["r"]


@pytest.mark.parametrize("scripts", [[[Mark("r")]], [[*text("Hel"), cut], [Mark("r")]]], ids=["no text", "text"])
async def test_stop_before_an_attempt_brings_anything_cancels_its_response(scripts: list[Any]) -> None:
    log = RecordingLog()
    model = ScriptedModel("a", *scripts, takeover="reattach")
    async with running_turn(log, [model]) as (turn, task):
        await until_asked(model, len(scripts))
        turn.writer.stop()
        await task
    assert model.cancelled == ["r"]
    assert log.told()[-1] == "end stopped"
    assert "reset" not in "".join(log.told())


async def test_stop_in_a_pause_cancels_the_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_FIRST_PAUSE_SECONDS", 8)
    log = RecordingLog()
    model = ScriptedModel("a", [Mark("r"), *text("Hel"), cut], takeover="reattach")
    async with running_turn(log, [model]) as (turn, task):
        await eventually(lambda: log.told()[-1:] == ["text Hel"], description="the answer broke off")
        turn.writer.stop()
        async with asyncio.timeout(5):
            await task
    assert (model.cancelled, log.told()[-1]) == (["r"], "end stopped")


@pytest.mark.parametrize("is_deleted", [True, False])
async def test_response_of_a_deleted_session_is_cancelled(*, is_deleted: bool) -> None:
    """The response of a turn that another worker took over is that worker's."""
    log = RecordingLog()
    log.is_deleted = is_deleted
    model = ScriptedModel("a", [Mark("r"), *text("Hel")], takeover="reattach")
    async with running_turn(log, [model]) as (turn, task):
        await eventually(lambda: log.told()[-1:] == ["text Hel"], description="it answers")
        turn.writer.lose(FencedError("the lease is another worker's, or the session is gone"))
        await task
    assert model.cancelled == (["r"] if is_deleted else [])


async def test_fallback_answers_while_the_first_provider_does_not_confirm_a_cancellation() -> None:
    log = RecordingLog()
    models = (
        ScriptedModel("a", [Mark("r"), *text("Hel"), cut], [lambda: ModelError("model_refused_request", "No.")]),
        ScriptedModel("b", text("Hello")),
    )
    confirmed = asyncio.Event()

    async def cancel(mark: str) -> None:
        models[0].cancelled.append(mark)
        await confirmed.wait()

    models[0].cancel = cancel  # type: ignore[method-assign]
    async with running_turn(log, models) as (turn, task):
        await eventually(lambda: log.told()[-1:] == ["text Hello"], description="the fallback answered")
        assert models[0].cancelled == ["r"]
        confirmed.set()
        turn.writer.stop()
        await task


async def test_turn_ends_whatever_a_provider_replies_to_a_cancellation() -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [Mark("r"), *text("Hel")], takeover="reattach")

    async def cancel(_mark: str) -> None:
        raise ValueError("no JSON")

    model.cancel = cancel  # type: ignore[method-assign]
    async with running_turn(log, [model]) as (turn, task):
        await eventually(lambda: log.told()[-1:] == ["text Hel"], description="it answers")
        turn.writer.stop()
        await task
    assert log.told()[-1] == "end stopped"


async def test_no_probe_is_kept_when_a_turn_ends() -> None:
    scripts: list[tuple[list[Any], dict[str, Any]]] = [
        ([[*text("Hel"), cut], [*text("Hello"), STOP]], {"heal_tokens": 0}),
        ([[*text("Hel"), cut], [STOP]], {"heal_attempts": 1}),
        ([[*text("Hel"), cut], [CannotResumeError], [down]], {"heal_attempts": 1}),
        ([[STOP]], {}),
    ]
    for takeover in ("restart", "continue"):
        for script, settings in scripts:
            breakers = Probes()
            await run_turn(
                RecordingLog(), ScriptedModel("a", *script, takeover=takeover), breakers=breakers, **settings
            )
            assert breakers.probed == set(), script


async def test_refusal_to_continue_costs_no_tokens() -> None:
    """What the restart repeats is the question and the text, and the refused request nothing."""
    log = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), cut], [CannotResumeError], [*text("Hello"), STOP], takeover="continue")
    await run_turn(log, model)
    alone = RecordingLog()
    await run_turn(alone, ScriptedModel("a", [*text("Hel"), cut], [*text("Hello"), STOP]))
    assert Progress.of(log.marks[-1])[0].repeated == Progress.of(alone.marks[-1])[0].repeated


async def test_model_that_cannot_resume_a_new_answer_is_not_asked_for_ever() -> None:
    log = RecordingLog()
    model = ScriptedModel("a", [*text("Hel"), cut], [CannotResumeError])
    await run_turn(log, model)
    assert (log.end["error"]["code"], len(model.requests)) == ("internal", 2)


async def test_dropped_reasoning_is_counted() -> None:
    log, without = RecordingLog(), RecordingLog()
    first: list[Any] = [Reasoning("Hm."), *text("Hel"), cut]
    long = Reasoning("Hm, hm. " * 100)
    await run_turn(log, ScriptedModel("a", first, [long, *text("lo"), STOP], takeover="continue"))
    await run_turn(without, ScriptedModel("a", first, [*text("lo"), STOP], takeover="continue"))
    assert "reasoning Hm, hm" not in "".join(log.told())
    assert log.end["usage"]["output_tokens"] >= without.end["usage"]["output_tokens"] + 200


class TestTakeover:
    async def test_attempts_are_numbered_on_after_a_handover_that_does_not_count(self) -> None:
        first = RecordingLog()
        async with running_turn(first, [ScriptedModel("a", text("Hel"))]):
            await eventually(lambda: first.told()[-1:] == ["text Hel"], description="it answers")
        second, claim = taken_over(first, attempt=1)
        await run_turn(second, ScriptedModel("a", [*text("Hello"), STOP]), claim=claim)
        assert second.told() == ["reset 2", "start 2 a", "text Hello", "end stop"]

    async def test_pause_is_counted_by_the_next_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recovery, "_FIRST_PAUSE_SECONDS", 8)
        first = RecordingLog()
        async with running_turn(first, [ScriptedModel("a", [*text("Hel"), cut])]):
            await eventually(lambda: first.marks, description="the pause has begun")
        assert Progress.of(first.marks[-1])[0] == Progress(1, "a", retries=1)
        second, claim = taken_over(first)
        await run_turn(second, ScriptedModel("a", [*text("Hello"), cut]), claim=claim, heal_attempts=1)
        assert second.told() == ["reset 2", "start 2 a", "text Hello", "end error"]

    async def test_response_that_has_only_begun_is_read_on_by_the_next_worker(self) -> None:
        first = RecordingLog()
        model = ScriptedModel("a", [*text("Hel"), cut], [Mark("r:0")], takeover="reattach")
        async with running_turn(first, [model]):
            await until_asked(model, 2)
        progress, mark = Progress.of(first.marks[-1])
        assert (progress.attempt, progress.waiting, mark) == (2, Waiting("a", "r:0"), "")
        second, claim = taken_over(first)
        model = ScriptedModel("a", [*text("Hello"), STOP], takeover="reattach")
        await run_turn(second, model, claim=claim)
        assert [request.mark for request in model.requests] == ["r:0"]
        assert second.told() == ["reset 3", "start 3 a", "text Hello", "end stop"]
        assert len(second.end["usage"]["attempts"]) == 2

    async def test_stop_is_carried_out_by_the_next_worker(self) -> None:
        """It cancels what runs at the providers: the answer that readers see, and the one that has only begun."""
        progress = Progress(3, "a", waiting=Waiting("b", "r2"))
        log = RecordingLog([("delta", {"text": "Hel"})])
        models = ScriptedModel("a", takeover="reattach"), ScriptedModel("b", takeover="reattach")
        claim = Claim(Lease(SESSION, 1, 2, "w"), 3, 2, stop=True, mark=progress.prefix() + "r1")
        await run_turn(log, *models, claim=claim)
        assert (models[0].cancelled, models[1].cancelled) == (["r1"], ["r2"])
        assert log.told() == ["end stopped"]

    async def test_reasoning_of_earlier_attempts_is_not_counted_twice(self) -> None:
        first = RecordingLog()
        thought = "Hm, hm. " * 100
        model = ScriptedModel("a", [Reasoning(thought), *text("Hel"), cut], text("lo"), takeover="continue")
        async with running_turn(first, [model]):
            await eventually(lambda: first.told()[-1:] == ["text lo"], description="it goes on")
        second, claim = taken_over(first)
        await run_turn(second, ScriptedModel("a", [*text("."), STOP], takeover="continue"), claim=claim)
        assert second.told() == ["start 3 a", "text .", "end stop"]
        usage = [each["output_tokens"] for each in second.end["usage"]["attempts"]]
        assert usage[0] > 100
        assert usage[1:] == [1, 1]

    async def test_mark_of_a_model_that_the_worker_lacks_is_not_used(self) -> None:
        log = RecordingLog([("delta", {"text": "Hel"})])
        model = ScriptedModel("a", [*text("Hello"), STOP], takeover="reattach")
        mark = Progress(2, "gone", waiting=Waiting("gone", "r2")).prefix() + "r1"
        await run_turn(log, model, claim=Claim(Lease(SESSION, 1, 2, "w"), 3, 2, mark=mark))
        assert [request.mark for request in model.requests] == [""]
        assert model.cancelled == []
        assert log.told() == ["reset 3", "start 3 a", "text Hello", "end stop"]

    async def test_response_of_a_model_that_is_no_fallback_is_cancelled(self) -> None:
        """The worker before answered with another model, because it lacked the one that the message names."""
        log = RecordingLog([("delta", {"text": "Hel"})])
        models = ScriptedModel("a", [*text("Hello"), STOP]), ScriptedModel("b", takeover="reattach")
        claim = Claim(Lease(SESSION, 1, 2, "w"), 3, 2, mark=Progress(2, "b").prefix() + "r")
        await run_turn(log, *models, claim=claim, fallbacks=())
        assert log.told() == ["reset 3", "start 3 a", "text Hello", "end stop"]
        assert models[1].cancelled == ["r"]

    async def test_worker_with_lower_limits_takes_a_turn_over(self) -> None:
        log = RecordingLog([("delta", {"text": "Hel"})])
        claim = Claim(Lease(SESSION, 1, 2, "w"), 3, 2, mark=Progress(2, "a", repeated=500).prefix())
        await run_turn(log, ScriptedModel("a", [*text("Hello"), STOP]), claim=claim, heal_tokens=10)
        assert log.told()[-1] == "end stop"

    async def test_setting_fail_keeps_the_text_and_cancels_what_runs(self) -> None:
        log = RecordingLog([("delta", {"text": "Hel"})])
        model = ScriptedModel("a", takeover="fail")
        mark = Progress(2, "a", waiting=Waiting("a", "r2")).prefix() + "r1"
        await run_turn(log, model, claim=Claim(Lease(SESSION, 1, 2, "w"), 3, 2, mark=mark))
        assert (log.told(), log.end["error"]["code"]) == (["end error"], "worker_lost")
        assert (sorted(model.cancelled), model.requests) == (["r1", "r2"], [])

    async def test_tokens_are_limited_over_all_workers(self) -> None:
        first = RecordingLog()
        async with running_turn(first, [ScriptedModel("a", [*text("Hel" * 100), cut], text("Hel"))]):
            await eventually(lambda: first.told()[-1:] == ["text Hel"], description="it was taken up")
        second, claim = taken_over(first)
        paid = Progress.of(claim.mark)[0].repeated
        model = ScriptedModel("a", [*text("Hello"), cut])
        await run_turn(second, model, claim=claim, heal_tokens=paid)
        assert paid > 75
        assert second.told() == ["reset 3", "start 3 a", "text Hello", "end error"]

    @pytest.mark.parametrize("mark", ["", "{", "[]\nr", "\n", '{"attempt":"x"}\nr', '{"waiting":{}}\nr', "r:1:2"])
    async def test_mark_that_cannot_be_read_ends_no_turn(self, mark: str) -> None:
        log = RecordingLog([("delta", {"text": "Hel"})])
        claim = Claim(Lease(SESSION, 1, 2, "w"), 3, 2, mark=mark)
        await run_turn(log, ScriptedModel("a", [*text("Hello"), STOP]), claim=claim)
        assert log.told() == ["reset 2", "start 2 a", "text Hello", "end stop"]


Script = list[Piece | Callable[[], Exception]]


async def test_chat_and_responses_take_turns() -> None:
    """A fallback of another API, and back: each response is cancelled, read on or ended."""
    log = RecordingLog()
    breaks: Script = [*text("Hel"), cut]
    models = (
        ScriptedModel("chat", breaks, breaks, breaks, [*text("Hello"), STOP]),
        ScriptedModel(
            "responses",
            [Mark("r:0"), *text("Hi"), Mark("r:1"), cut],
            [*text(" you"), Mark("r:2"), cut],
            [Mark("r:2"), *text("."), Mark("r:3"), cut],
            takeover="reattach",
        ),
    )
    await run_turn(log, *models)
    assert log.told() == [
        *("start 1 chat", "text Hel", "reset 2", "start 2 chat", "text Hel", "reset 3", "start 3 chat", "text Hel"),
        *("reset 4", "start 4 responses", "text Hi", "start 5 responses", "text  you", "start 6 responses", "text ."),
        *("reset 7", "start 7 chat", "text Hello", "end stop"),
    ]
    assert [request.mark for request in models[1].requests] == ["", "r:1", "r:2"]
    assert models[1].cancelled == ["r:3"]
    assert [usage["model"] for usage in log.end["usage"]["attempts"]] == [*["chat"] * 3, "responses", "chat"]
