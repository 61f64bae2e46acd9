"""From a results file to the medians and ranges of each contender in each case."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import results
from bench.results import Measurement

MIDSENTENCE, NCHAN = "midsentence", "nchan"
SERVER, APPEND, REDIS = "server_us_per_token", "append_us_per_token", "redis_us_per_token"
# Where a provider is read: the process that reads it, which is also the server of those that have no other.
WORKER = "worker_us_per_token"
# Sums are made within each round: the median of the sums is not the sum of the medians.
SERVER_AND_REDIS, TOTAL = "server_and_redis_us_per_token", "total_us_per_token"
# A fast relay that loses tokens or readers meets no goal.
ERRORS = ("missing", "duplicates", "wrong", "lost", "refused", "asked_again")
# Rows of the table that are left out where they are 0. A token may be late in what is more than a process can do.
RARE = (*ERRORS, "late")


class Spread(NamedTuple):
    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        middle, low, high = (numeral(value) for value in self)
        return middle if low == high else f"{middle} ({low}–{high})"


@dataclass(frozen=True)
class Case:
    """One contender with one set of parameters; `rounds` is {figure: {round: value}}."""

    scenario: str
    contender: str
    parameters: Mapping[str, float]
    rounds: dict[str, dict[int, float]] = field(default_factory=dict[str, dict[int, float]])

    def spread(self, figure: str) -> Spread:
        """Raises KeyError where it was not measured."""
        values = self.rounds[figure].values()
        return Spread(median(values), min(values), max(values))

    @property
    def errors(self) -> float | None:
        """Over all rounds; None if the scenario counts none."""
        counted = [self.rounds[figure].values() for figure in ERRORS if figure in self.rounds]
        return sum(map(sum, counted)) if counted else None


def load(path: Path) -> list[Case]:
    """All cases, midsentence's first. Raises msgspec.ValidationError for a line that is no measurement."""
    cases: dict[str, Case] = {}
    for row in results.read(path):
        key = repr((row.scenario, row.contender, sorted(row.parameters.items())))
        case = cases.setdefault(key, Case(row.scenario, row.contender, row.parameters))
        for figure, value in _figures(row):
            case.rounds.setdefault(figure, {})[row.round] = value
    return sorted(cases.values(), key=lambda case: case.contender != MIDSENTENCE)


def of(cases: Sequence[Case], scenario: str, figure: str, contender: str = "") -> list[Case]:
    """Those in which this figure was measured."""
    found = [case for case in cases if case.scenario == scenario and figure in case.rounds]
    return [case for case in found if contender in ("", case.contender)]


def name(cases: Sequence[Case], case: Case) -> str:
    """The contender, with the parameters that distinguish its cases in the scenario."""
    others = [other for other in cases if (other.scenario, other.contender) == (case.scenario, case.contender)]
    varying = [key for key in case.parameters if len({repr(other.parameters.get(key)) for other in others}) > 1]
    return ", ".join([case.contender, *(parameter(key, case.parameters[key]) for key in varying)])


def parameter(name: str, value: float) -> str:
    """`flush_ms: 25` is written "flush 25 ms", and a flag by its name."""
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return f"{name[:-3]} {numeral(value)} ms" if name.endswith("_ms") else f"{name} {numeral(value)}"


def label(figure: str) -> str:
    """`server_us_per_token` is written "server, µs per token"."""
    found = re.fullmatch(r"(.+)_(us|ms|s)(_per_.+)?", figure)
    name, unit, per = found.groups("") if found else (figure, "", "")
    return f"{name}{unit and ', '}{unit.replace('us', 'µs')}{per}".replace("_", " ")


def numeral(value: float) -> str:
    """Three digits, which is as precise as these measurements are; whole numbers are counts and stay whole."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _figures(row: Measurement) -> Iterator[tuple[str, float]]:
    given = row.figures
    # The costs of a token first, with their sums.
    yield from ((name, value) for name, value in given.items() if name.endswith("_us_per_token"))
    if WORKER in given:
        yield TOTAL, sum(given.get(part, 0.0) for part in (WORKER, SERVER, REDIS))
    elif SERVER in given:
        redis = given.get(REDIS, 0.0)
        # The benchmark's own Python client feeds Nchan. Its cost is reported and not added to Nchan's.
        append = 0.0 if row.contender == NCHAN else given.get(APPEND, 0.0)
        yield SERVER_AND_REDIS, given[SERVER] + redis
        yield TOTAL, given[SERVER] + redis + append
    yield from ((name, value) for name, value in given.items() if not name.endswith("_us_per_token"))
