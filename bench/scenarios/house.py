"""The whole house: from the provider's write, over the worker, Redis and the server, to the reader's read."""

import time
from collections.abc import Iterator

from bench import cpu
from bench.audience import Audience
from bench.contender import Contender
from bench.house import House, ScriptedProvider
from bench.houses import HOUSES
from bench.scenario import Outcome, Scenario, Setting
from bench.streaming import window

_TURNS = (1, 64, 256)
_RATES = (20, 50, 100)
# The goals are about these.
_MORE = ((50, 20), (50, 100))
_MANY_TURNS = 256
# A process frees much of what its start needed.
_SETTLE_SECONDS = 0.3
_WARM_UP_SECONDS = 1.5
_AFTER_SECONDS = 0.5
# Tokens that have not come so long after the provider's last write are late.
_LATE_SECONDS = 1.0


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    cells = [(turns, rate) for turns in _TURNS for rate in _RATES]
    for turns, rate in ((1, 20), (5, 100)) if setting.quick else (*cells, *_MORE):
        figures = measure(HOUSES[contender.name](), setting, turns, rate)
        yield Outcome({"turns": turns, "rate": rate}, figures)


def measure(house: House, setting: Setting, turns: int, rate: float) -> dict[str, float]:
    """Costs and latencies of one window with so many turns, each with `rate` tokens a second."""
    directory = setting.fresh()
    directory.mkdir(parents=True)
    seconds = _WARM_UP_SECONDS + setting.seconds + _AFTER_SECONDS
    with (
        ScriptedProvider(directory) as provider,
        house.running(directory, provider.url, turns),
        Audience(directory, house.folding) as audience,
    ):
        time.sleep(_SETTLE_SECONDS)
        idle = cpu.resident_bytes(house.pids["worker"])
        targets = house.targets([f"hold {number}" for number in range(turns)])
        opened = audience.open(targets)
        provider.wait_for(turns)
        provider.stream(rate, seconds)
        time.sleep(_WARM_UP_SECONDS)
        pids = {**house.pids, "readers": [audience.pid], "provider": [provider.pid]}
        figures, busy = window(audience, pids, setting.seconds)
        memory = cpu.resident_bytes(house.pids["worker"]) - idle
        provider.streamed(seconds + 30)
        counted = audience.finish({target.session: round(rate * seconds) for target in targets}, _LATE_SECONDS)
        asked = provider.asked
    kept = ("worker", "server", "redis")
    return {
        **{name: figures[name] for part in kept if (name := f"{part}_us_per_token") in figures},
        **{name: figures[name] for name in ("p50_ms", "p99_ms", "p999_ms")},
        "delivered_share": figures["delivered"] / (turns * rate * setting.seconds),
        "worker_busy": busy.pop("worker"),
        "rest_busy": sum(busy.values()),
        # For few turns it would be the memory of imports and caches.
        **({"worker_bytes_per_turn": memory / turns} if turns >= _MANY_TURNS else {}),
        # What a contender that is offered more than it can do has not done.
        "late": float(counted["behind"]),
        "missing": float(counted["missing"] - counted["behind"]),
        "duplicates": float(counted["duplicates"]),
        "lost": float(counted["lost"]),
        "refused": float(opened["refused"]),
        "asked_again": float(asked - turns),
    }


SCENARIO = Scenario("house", run, tuple(HOUSES))
