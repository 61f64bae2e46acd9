"""Which model a turn asks next, and when: the rules of `recovery`."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midsentence_worker.models.errors import ModelError
from midsentence_worker.recovery import Limits, Recovery, Step

LIMITS = Limits(attempts=10, tokens=1000, pause=30)
DOWN = ModelError("model_unreachable", "Nobody answers.")
REFUSED = ModelError("model_refused_request", "No.")
CUT = ModelError("model_truncated", "It broke off.")


def recovery(*chain: str, limits: Limits = LIMITS) -> Recovery:
    plan = Recovery(chain, limits)
    plan.asked(chain[0])
    return plan


def failed(plan: Recovery, model: str, error: ModelError, now: float = 0.0, *, broke: bool = False) -> Step | None:
    step = plan.after(model, error, now, broke=broke, has_text=broke)
    if step is not None:
        plan.asked(step.model)
    return step


@pytest.mark.parametrize("error", [DOWN, REFUSED, ModelError("model_rate_limited", "Later.", retry_after=600)])
def test_fallbacks_are_asked_in_order_before_the_first_token(error: ModelError) -> None:
    plan = recovery("a", "b", "c")
    assert failed(plan, "a", error) == Step("b", 0.0)
    assert failed(plan, "b", error) == Step("c", 0.0)
    assert failed(plan, "c", error) is None


def test_broken_answer_is_taken_up_by_its_own_model_first() -> None:
    plan = recovery("a", "b")
    models: list[str] = []
    now = 0.0
    for _ in range(7):
        asked = models[-1] if models else "a"
        step = failed(plan, asked, CUT, now, broke=True)
        assert step is not None
        models.append(step.model)
        now = step.at
    assert models == ["a", "a", "b", "b", "b", "a", "a"]


def test_pause_doubles_up_to_a_limit() -> None:
    plan, now, pauses = recovery("a"), 0.0, list[float]()
    for _ in range(7):
        step = failed(plan, "a", CUT, now, broke=True)
        assert step is not None
        pauses.append(step.at - now)
        now = step.at
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8]


def test_short_longest_pause_shortens_the_pauses() -> None:
    plan, now = recovery("a", limits=Limits(attempts=10, tokens=1000, pause=0.7)), 0.0
    for pause in (0.5, 0.7, 0.7):
        step = failed(plan, "a", CUT, now, broke=True)
        assert step is not None
        assert (step.model, step.at) == ("a", pytest.approx(now + pause))
        now = step.at


def test_model_that_is_down_gives_way_in_mid_answer_and_comes_back() -> None:
    plan = recovery("a", "b")
    assert failed(plan, "a", CUT, broke=True) == Step("a", 0.5)
    step = plan.after("a", DOWN, 0.5, broke=False, has_text=True)
    assert step == Step("b", 0.5)
    step = plan.after("b", DOWN, 0.5, broke=False, has_text=True)
    assert step is not None
    assert step.at > 0.5


def test_model_that_refused_is_not_asked_again() -> None:
    plan = recovery("a", "b")
    assert failed(plan, "a", CUT, broke=True) == Step("a", 0.5)
    assert plan.after("a", REFUSED, 1.0, broke=False, has_text=True) == Step("b", 1.0)
    step = plan.after("b", CUT, 2.0, broke=True, has_text=True)
    assert step is not None
    assert step.model == "b"
    assert plan.after("b", REFUSED, 3.0, broke=False, has_text=True) is None


def test_failure_that_would_come_again_is_not_provoked_again() -> None:
    final = ModelError("model_failed", "The context is too long.", is_final=True)
    assert recovery("a").after("a", final, 0.0, broke=True, has_text=True) is None


def test_retry_after_is_honoured() -> None:
    wait = ModelError("model_rate_limited", "Later.", retry_after=20)
    assert failed(recovery("a"), "a", wait, broke=True) == Step("a", 20)


def test_longer_retry_after_than_a_pause_makes_the_next_model_answer() -> None:
    wait = ModelError("model_rate_limited", "Later.", retry_after=31)
    assert failed(recovery("a", "b"), "a", wait, broke=True) == Step("b", 0.0)
    assert failed(recovery("a"), "a", wait, broke=True) is None


def test_attempts_are_limited() -> None:
    plan = recovery("a", limits=Limits(attempts=2, tokens=1000, pause=30))
    assert failed(plan, "a", CUT, broke=True) is not None
    assert failed(plan, "a", CUT, broke=True) is not None
    assert failed(plan, "a", CUT, broke=True) is None


def test_attempts_of_an_earlier_worker_count() -> None:
    plan = Recovery(["a"], Limits(attempts=2, tokens=100, pause=30), attempts=2, tokens=100)
    plan.asked("a")
    assert failed(plan, "a", CUT, broke=True) is None
    assert not plan.pay(1)


def test_tokens_are_limited() -> None:
    plan = recovery("a", limits=Limits(attempts=10, tokens=100, pause=30))
    assert plan.pay(60)
    assert plan.pay(40)
    plan.refund(40)
    assert plan.pay(40)
    assert not plan.pay(1)
    assert plan.pay(0)


def test_model_with_an_open_breaker_is_passed_over() -> None:
    plan = Recovery(["a", "b"], LIMITS)
    assert plan.passed_over("a", 5.0, 0.0, has_text=False) == Step("b", 0.0)
    plan.asked("b")
    assert plan.after("b", DOWN, 1.0, broke=False, has_text=False) == Step("a", 5.0)


def test_turn_waits_for_the_only_model_but_not_long() -> None:
    plan = Recovery(["a"], LIMITS)
    assert plan.passed_over("a", 5.0, 0.0, has_text=False) == Step("a", 5.0)
    assert plan.passed_over("a", 2.0, 5.0, has_text=False) == Step("a", 7.0)
    assert plan.passed_over("a", 2.0, 7.0, has_text=False) is None


def test_turn_with_text_waits_longer_for_a_model() -> None:
    assert Recovery(["a"], LIMITS).passed_over("a", 29.0, 0.0, has_text=True) == Step("a", 29.0)
    assert Recovery(["a"], LIMITS).passed_over("a", 31.0, 0.0, has_text=True) is None


ERRORS = st.sampled_from(
    [DOWN, REFUSED, CUT, ModelError("model_rate_limited", ".", retry_after=3), ModelError("model_failed", ".")]
)


@given(st.integers(1, 4), st.lists(st.tuples(ERRORS, st.booleans(), st.floats(0, 20)), max_size=60))
def test_no_failures_make_a_turn_ask_for_ever(models: int, failures: Sequence[tuple[ModelError, bool, float]]) -> None:
    chain = [f"model {number}" for number in range(models)]
    plan = recovery(*chain)
    asked, now, has_text, refused = chain[0], 0.0, False, set[str]()
    requests = 1
    for error, breaks, elapsed in failures:
        now += elapsed
        broke = breaks and error is not REFUSED
        has_text = has_text or broke
        if error is REFUSED:
            refused.add(asked)
        step = plan.after(asked, error, now, broke=broke, has_text=has_text)
        if step is None:
            break
        assert step.model not in refused
        assert now <= step.at <= now + LIMITS.pause
        asked, now = step.model, step.at
        plan.asked(asked)
        requests += 1
    assert requests <= models + LIMITS.attempts
