"""Which model a turn asks next after a failure, and when. Pure: `turn` asks the models and takes the time.

The rules:

- Before any text, each model of the chain is asked once: the one that the message names, then its fallbacks.
- Once readers have text, the turn is taken up again and again, within the limits. The model whose answer broke comes
  first: it may be able to go on. After some breaks in a row the next model of the chain follows, and the first one
  follows the last.
- A model that refused the request, or the key, is not asked again.
- Before a model is asked again there is a pause, which doubles with each of its failures. It lasts at least as long as
  the provider asked for (Retry-After). Where that is longer than the longest pause, the model is not asked again. Among
  the models that may follow, the one whose pause is over first goes first.
- A model whose circuit breaker is open is passed over. The turn waits where all are, but no longer than a pause.
"""

from collections.abc import Sequence
from typing import NamedTuple

from midsentence_worker.models.base import LONGEST_PAUSE_WITHOUT_TEXT
from midsentence_worker.models.errors import ModelError

# A model whose answers break so often in a row gives way to the next one of the chain.
_BREAKS_IN_A_ROW = 3
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0
# The refusals of one model, which would refuse the same request again.
_REFUSALS = frozenset({"model_refused_key", "model_refused_request"})


class Limits(NamedTuple):
    """What a turn is given beyond its first attempt.

    `attempts`: how often it is taken up again once readers have text. `tokens`: how many tokens are paid for again.
    `pause`: the longest pause between two attempts, in seconds.
    """

    attempts: int
    tokens: int
    pause: float


class Step(NamedTuple):
    """Ask `model` at the time `at`, in seconds of the caller's clock."""

    model: str
    at: float


class _State:
    """What this turn knows about one model."""

    def __init__(self) -> None:
        self.is_asked = False
        self.has_refused = False
        self.failures = 0
        self.breaks = 0
        # When it may be asked again.
        self.ready_at = 0.0


class Recovery:
    def __init__(self, chain: Sequence[str], limits: Limits, *, attempts: int = 0, tokens: int = 0) -> None:
        """`chain`: the models, in the order in which they are asked. `attempts` and `tokens` were used up before."""
        self.attempts = attempts
        self.tokens = tokens
        self._limits = limits
        self._states = {name: _State() for name in chain}
        # When the turn stops waiting for a circuit breaker.
        self._waits_until: float | None = None

    def asked(self, model: str) -> None:
        """The model is asked now."""
        self._states[model].is_asked = True
        self._waits_until = None

    def pay(self, tokens: int) -> bool:
        """Count tokens that are paid for again. Returns whether the limit allows it."""
        self.tokens += tokens
        # What costs nothing is always allowed: another worker may have had a higher limit.
        return not tokens or self.tokens <= self._limits.tokens

    def refund(self, tokens: int) -> None:
        """Take back a payment: the request was not answered."""
        self.tokens -= tokens

    def after(self, failed: str, error: ModelError, now: float, *, broke: bool, has_text: bool) -> Step | None:
        """What follows a failure of the model `failed`; None where it is the turn's failure.

        `broke`: a piece of the answer came before it. `has_text`: readers have text of this turn.
        """
        state = self._states[failed]
        state.failures += 1
        state.breaks = state.breaks + 1 if broke else 0
        state.has_refused = state.has_refused or error.is_final or error.code in _REFUSALS
        longest = min(_LONGEST_PAUSE_SECONDS, self._limits.pause)
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (state.failures - 1), longest)
        state.ready_at = now + max(pause, error.retry_after or 0.0)
        if has_text:
            if self.attempts >= self._limits.attempts:
                return None
            self.attempts += 1
        latest = self._latest(now, has_text=has_text)
        stays = broke and state.breaks % _BREAKS_IN_A_ROW > 0 and not state.has_refused
        if stays and has_text and state.ready_at <= latest:
            return Step(failed, state.ready_at)
        return self._next(failed, now, latest, again=has_text)

    def passed_over(self, model: str, wait: float, now: float, *, has_text: bool) -> Step | None:
        """What follows where the circuit breaker of `model` allows no request for `wait` seconds."""
        self._states[model].ready_at = now + wait
        if self._waits_until is None:
            self._waits_until = self._latest(now, has_text=has_text)
        return self._next(model, now, self._waits_until, again=has_text)

    def _next(self, model: str, now: float, latest: float, *, again: bool) -> Step | None:
        """Choose the model that may be asked first; among equals, the first one behind `model`."""
        names = list(self._states)
        behind = names.index(model) + 1
        steps = [
            Step(name, max(now, self._states[name].ready_at))
            for name in names[behind:] + names[:behind]
            if not self._states[name].has_refused and (again or not self._states[name].is_asked)
        ]
        step = min(steps, key=lambda step: step.at, default=None)
        return step if step is not None and step.at <= latest else None

    def _latest(self, now: float, *, has_text: bool) -> float:
        pause = self._limits.pause
        return now + (pause if has_text else min(pause, LONGEST_PAUSE_WITHOUT_TEXT))
