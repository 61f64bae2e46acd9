"""From the lines of a results file to what was measured of each contender in each case."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

MIDSENTENCE = "midsentence"
NCHAN = "nchan"

# What may not be: a cheap relay that loses tokens, or readers, is no relay.
AMISS = ("missing", "duplicates", "wrong", "lost", "refused")

# Sums are made within each round: the median of sums is not the sum of medians. The server's part comes first.
SERVER = "server_us_per_token"
SERVER_AND_REDIS = "server_and_redis_us_per_token"
TOTAL = "total_us_per_token"
_SUMS = {
    SERVER_AND_REDIS: (SERVER, "redis_us_per_token"),
    TOTAL: (SERVER, "append_us_per_token", "redis_us_per_token"),
}


class Row(msgspec.Struct, frozen=True):
    scenario: str
    contender: str
    round: int
    parameters: dict[str, Any]
    # JSON has no NaN: a percentile of nothing is null.
    figures: dict[str, float | None]


class Spread(NamedTuple):
    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Case:
    """One contender under one set of parameters; `rounds` is {figure: {round: value}}."""

    scenario: str
    contender: str
    parameters: Mapping[str, Any]
    rounds: dict[str, dict[int, float]] = field(default_factory=dict[str, dict[int, float]])

    def spread(self, figure: str) -> Spread | None:
        values = self.rounds.get(figure, {}).values()
        return Spread(median(values), min(values), max(values)) if values else None

    @property
    def amiss(self) -> float | None:
        """In all rounds; None where nobody looked."""
        found = [self.rounds[figure].values() for figure in AMISS if figure in self.rounds]
        return sum(sum(values) for values in found) if found else None

    def middle(self, figure: str) -> float | None:
        spread = self.spread(figure)
        return spread and spread.middle


@dataclass(frozen=True)
class Results:
    cases: list[Case]

    def scenarios(self) -> list[str]:
        return list(dict.fromkeys(case.scenario for case in self.cases))

    def of(self, scenario: str, contender: str | None = None) -> list[Case]:
        return [case for case in self.cases if case.scenario == scenario and contender in (None, case.contender)]

    def by(self, contender: str) -> list[Case]:
        return [case for case in self.cases if case.contender == contender]

    def beside(self, case: Case, contender: str) -> Case | None:
        """The peer's case that agrees with this one in most parameters: a peer has no flush to set, for one."""
        return max(
            self.of(case.scenario, contender),
            key=lambda other: sum(other.parameters.get(name) == value for name, value in case.parameters.items()),
            default=None,
        )

    def varying(self, scenario: str) -> list[str]:
        """The parameters in which the cases of a scenario differ, in the order of the file."""
        cases = self.of(scenario)
        names = dict.fromkeys(name for case in cases for name in case.parameters)
        return [name for name in names if len({repr(case.parameters.get(name)) for case in cases}) > 1]


def load(path: Path) -> Results:
    """Raises `msgspec.DecodeError` for a line that is no measurement."""
    cases: dict[str, Case] = {}
    for line in path.read_text().splitlines():
        row = msgspec.json.decode(line, type=Row)
        key = repr((row.scenario, row.contender, sorted(row.parameters.items())))
        case = cases.setdefault(key, Case(row.scenario, row.contender, row.parameters))
        for figure, value in _figures(row):
            case.rounds.setdefault(figure, {})[row.round] = value
    # Midsentence first, the others in the order in which they ran; within a contender its cases stay in theirs.
    contenders = list(dict.fromkeys(case.contender for case in cases.values()))
    order = sorted(cases.values(), key=lambda case: (case.contender != MIDSENTENCE, contenders.index(case.contender)))
    return Results(order)


def _figures(row: Row) -> Iterator[tuple[str, float]]:
    given = {name: value for name, value in row.figures.items() if value is not None}
    yield from given.items()
    if row.contender == NCHAN:
        # Nchan is fed by a client of the benchmark, in Python. What that costs is told, and not added to Nchan's side.
        given.pop("append_us_per_token", None)
    for name, parts in _SUMS.items():
        # A part that a contender does not have costs nothing: Nchan has no Redis.
        if parts[0] in given:
            yield name, sum(given.get(part, 0.0) for part in parts)
