"""What `scripts/chaos` and `scripts/healing` judge by: each kind of damage to an answer is found."""

from collections.abc import Sequence

import pytest

from tests.support.http_exchange import Request
from tools.chaos.outages import one_is_always_up
from tools.chaos.schedule import CHAT_WEIGHTS, schedule, stream_fault
from tools.provider.checks import ViolationKind, check_answer
from tools.provider.record import Attempt, tokens_of

QUESTION = "tokens=6 seed=1"


def attempt(number: int, first: int = 0, *, written: int) -> Attempt:
    request = Request("POST", "/v1/chat/completions", {}, {}, {}, sent=written)
    return Attempt(number, tokens_of(QUESTION, number), first, QUESTION, request)


def kinds(text: Sequence[str], *attempts: Attempt, whole: bool = True) -> list[ViolationKind]:
    return [violation.kind for violation in check_answer("here", "".join(text), attempts, whole=whole)]


def test_all_of_one_attempt_is_a_whole_answer() -> None:
    assert kinds(tokens_of(QUESTION, 2), attempt(1, written=3), attempt(2, written=6)) == []


def test_a_chain_of_continued_attempts_is_a_whole_answer() -> None:
    # The fifth token was written for the first attempt, and discarded by a reset.
    assert kinds(tokens_of(QUESTION, 1), attempt(1, written=5), attempt(1, 4, written=2)) == []


def test_the_beginning_of_an_attempt_is_an_answer_that_was_stopped() -> None:
    assert kinds(tokens_of(QUESTION, 1)[:2], attempt(1, written=3), whole=False) == []
    assert kinds([], whole=False) == []


ONE, TWO = tokens_of(QUESTION, 1), tokens_of(QUESTION, 2)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ONE[:3] + TWO[3:], "mismatch"),
        (ONE[:5], "hole"),
        (ONE[:2] + ONE[3:], "hole"),
        ([*ONE[:2], *ONE[1:]], "duplicate"),
        ([*ONE[:5], ONE[5].upper() + "!"], "mismatch"),
        ([], "mismatch"),
        (tokens_of(QUESTION, 3), "mismatch"),
    ],
    ids=[
        "of two attempts",
        "without its end",
        "with a hole",
        "with a token twice",
        "changed",
        "empty",
        "of no attempt",
    ],
)
def test_a_damaged_answer_is_found(text: list[str], kind: ViolationKind) -> None:
    assert kinds(text, attempt(1, written=6), attempt(2, written=6)) == [kind]


def test_tokens_that_were_not_written_are_found() -> None:
    assert kinds(ONE, attempt(1, written=5)) == ["mismatch"]
    assert kinds(ONE, attempt(1, written=3), attempt(1, 4, written=2)) == ["mismatch"]
    assert kinds(ONE[:4], attempt(1, written=3), whole=False) == ["mismatch"]


def test_a_model_lives_unless_all_are_down_at_one_moment() -> None:
    downs = [[(1.0, 2.0), (8.0, 9.0)], [(3.0, 4.0), (8.5, 8.6)]]
    assert one_is_always_up(downs, 0.0, 7.0)
    assert one_is_always_up(downs, 1.5, 3.5)
    assert not one_is_always_up(downs, 0.0, 10.0)
    assert not one_is_always_up(downs, 8.55, 8.7)
    assert one_is_always_up([[(1.0, 2.0)]], 2.1, 5.0)
    assert not one_is_always_up([[(1.0, 2.0)]], 1.5, 5.0)


def test_a_seed_decides_every_fault() -> None:
    plan = schedule(7, 100, servers=2, workers=2, providers=2)
    assert plan == schedule(7, 100, servers=2, workers=2, providers=2)
    assert {fault.victim for fault in plan} == {"server", "worker", "valkey", "provider"}
    faults = [stream_fault(7, "a question", number, CHAT_WEIGHTS) for number in range(400)]
    assert faults == [stream_fault(7, "a question", number, CHAT_WEIGHTS) for number in range(400)]
    assert {fault.spoiling for fault in faults if fault} == set(CHAT_WEIGHTS)
