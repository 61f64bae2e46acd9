"""How many tokens a second one worker's core can do: the offered rate rises until the readers have to wait."""

import math
import time
from collections.abc import Callable, Iterator, Sequence

from bench.audience import Audience
from bench.contender import Contender
from bench.house import House, ScriptedProvider
from bench.houses import HOUSES
from bench.scenario import Outcome, Scenario, Setting
from bench.streaming import window

_TURNS = 256
_FIRST = 500.0
# More than any contender can do.
_LAST = 64_000.0
# Between the last rate that the house kept up with and the first that it did not. Four leave 4 %.
_BISECTIONS = 4
# Another process may disturb one attempt.
_ATTEMPTS = 2
_LONGEST_P99_MS = 60.0
_LEAST_SHARE = 0.97
_WARM_UP_SECONDS = 0.5
_WINDOW_SECONDS = 2.0
_AFTER_SECONDS = 0.2
_DRAIN_SECONDS = 10.0

Figures = dict[str, float]


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    turns = setting.many(_TURNS, 5)
    last = _FIRST if setting.quick else _LAST
    yield Outcome({"turns": turns}, measure(HOUSES[contender.name](), setting, turns, last))


def measure(house: House, setting: Setting, turns: int, last: float) -> Figures:
    """The highest rate of all answers together, up to `last`, that the house keeps up with; and its figures there."""
    directory = setting.fresh()
    directory.mkdir(parents=True)
    with (
        ScriptedProvider(directory) as provider,
        house.running(directory, provider.url, turns),
        Audience(directory, house.folding) as audience,
    ):
        targets = house.targets([f"hold {number}" for number in range(turns)])
        audience.open(targets)
        provider.wait_for(turns)
        offers = _Offers(house, provider, audience, [target.session for target in targets])
        best, figures = highest(offers.keeps_up, _FIRST, last)
    return {"tokens_per_second": best, **figures, **offers.errors}


def highest(keeps_up: Callable[[float], Figures | None], first: float, last: float) -> tuple[float, Figures]:
    """Search for the highest rate up to `last` for which there are figures; 0 and none if there are for no rate."""
    best, figures, failed = 0.0, Figures(), math.inf
    rate, bisections = first, _BISECTIONS
    while rate <= last and bisections >= 0:
        if found := keeps_up(rate):
            best, figures = rate, found
        else:
            failed = rate
        if math.isinf(failed):
            rate *= 2
        else:
            rate = math.sqrt(best * failed) if best else failed / 2
            bisections -= 1
    return best, figures


class _Offers:
    """Rates that are offered one after the other to the same answers."""

    def __init__(self, house: House, provider: ScriptedProvider, audience: Audience, sessions: Sequence[str]) -> None:
        self._house = house
        self._provider = provider
        self._audience = audience
        self._sessions = sessions
        # In each session.
        self._sent = 0
        self._is_stuck = False
        self.errors: Figures = {}

    def keeps_up(self, rate: float) -> Figures | None:
        """The figures at so many tokens a second in all, or None if the readers had to wait."""
        for _ in range(_ATTEMPTS):
            # A house that still has not delivered what it was offered before can do nothing more.
            if not self._is_stuck:
                share, figures = self._offer(rate)
                if share >= _LEAST_SHARE and figures["p99_ms"] <= _LONGEST_P99_MS:
                    return figures
        return None

    def _offer(self, rate: float) -> tuple[float, Figures]:
        """The share of the tokens that was delivered in the window, and the figures."""
        each = rate / len(self._sessions)
        seconds = _WARM_UP_SECONDS + _WINDOW_SECONDS + _AFTER_SECONDS
        self._provider.stream(each, seconds)
        time.sleep(_WARM_UP_SECONDS)
        pids = {**self._house.pids, "readers": [self._audience.pid], "provider": [self._provider.pid]}
        figures, busy = window(self._audience, pids, _WINDOW_SECONDS)
        self._provider.streamed(seconds + 30)
        self._sent += round(each * seconds)
        # The next rate begins with empty queues.
        counted = self._audience.finish(dict.fromkeys(self._sessions, self._sent), _DRAIN_SECONDS)
        self._is_stuck = counted["behind"] > 0
        self.errors = {
            "missing": float(counted["missing"] - counted["behind"]),
            "duplicates": float(counted["duplicates"]),
            "lost": float(counted["lost"]),
            "asked_again": float(self._provider.asked - len(self._sessions)),
        }
        share = figures["delivered"] / (rate * _WINDOW_SECONDS)
        names = (f"{part}_us_per_token" for part in ("worker", "server", "redis"))
        kept = {name: figures[name] for name in (*names, "p50_ms", "p99_ms", "p999_ms") if name in figures}
        return share, {**kept, "worker_busy": busy.pop("worker"), "rest_busy": sum(busy.values())}


SCENARIO = Scenario("capacity", run, tuple(HOUSES))
