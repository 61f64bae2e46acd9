"""What midsentence promised to cost, as ratios within one run, beside what was measured."""

from collections.abc import Iterator
from typing import NamedTuple

from bench.figures import details, interval, label, numeral
from bench.medians import MIDSENTENCE, NCHAN, SERVER, SERVER_AND_REDIS, TOTAL, Case, Results, Spread

# Nchan is a program of its own; these two are what one puts into an application.
OTHERS = ("handwritten", "resumable-stream")

# What a scenario costs each contender; the storm's and the replay's are per reader that attaches.
_COSTS = (
    SERVER,
    TOTAL,
    "connect_us",
    "storm_us_per_connect",
    "server_us_per_attach",
)


# MIDSENTENCE_FLUSH_MS where nobody sets it.
_FLUSH_MS = 25


class Verdict(NamedTuple):
    """`met` is None where the run did not measure it."""

    goal: str
    measured: str
    met: bool | None


def judge(results: Results) -> list[Verdict]:
    return [
        *_against_nchan(results),
        *_absolute(results),
        *_across(results),
        _exactness(results),
    ]


def _against_nchan(results: Results) -> Iterator[Verdict]:
    """Nchan's side is its server alone, for all of these: it has no Redis, and what feeds it is not its own."""
    for scenario, figure, bound, goal in (
        ("relay", SERVER, 0.75, "relay 1:1, server alone: at most ¾ of Nchan"),
        ("relay", SERVER_AND_REDIS, 1, "relay 1:1, Valkey's share included: at most Nchan"),
        ("fanout", SERVER, 1, "fan-out, server alone: at most Nchan"),
        ("fast", TOTAL, 0.5, "fast models at the default flush, append and Valkey included: at most ½ of Nchan"),
    ):
        mine = _case(results, scenario)
        theirs = mine and results.beside(mine, NCHAN)
        yield _compared(goal, mine, theirs, figure, bound)


def thirds(results: Results) -> Iterator[tuple[str, dict[str, Verdict]]]:
    """Midsentence beside each of OTHERS, wherever both were measured: what of it is at most a third."""
    for mine in results.by(MIDSENTENCE):
        for figure in _COSTS:
            compared = {
                peer: _compared("", mine, results.beside(mine, peer), figure, 1 / 3)
                for peer in OTHERS
                if mine.spread(figure) is not None
            }
            if any(verdict.met is not None for verdict in compared.values()):
                yield f"{', '.join([mine.scenario, *details(results, mine)])}: {label(figure)}", compared


def _absolute(results: Results) -> Iterator[Verdict]:
    for scenario, figure, bound, goal in (
        ("relay", "p50_ms", 0.5, "relay 1:1, p50 from producer to reader: at most 0.5 ms"),
        ("relay", "p99_ms", 2, "relay 1:1, p99: at most 2 ms"),
        ("idle", "bytes_per_connection", 8192, "memory of an idle connection: at most 8 KB (8,192 bytes)"),
        ("storm", "storm_us_per_connect", 180, "CPU of a reconnect with its replay from memory: at most 180 µs"),
    ):
        case = _case(results, scenario)
        spread = case and case.spread(figure)
        if case is None or spread is None:
            yield Verdict(goal, "", None)
        else:
            yield _verdict(goal, interval(spread), case, met=spread.middle <= bound)


def _across(results: Results) -> Iterator[Verdict]:
    """Goals of midsentence against itself: a longer answer, more sessions."""
    attaches = results.of("replay", MIDSENTENCE)
    for finished in (False, True):
        yield _largest(
            f"attach to a long answer that {'has ended' if finished else 'runs'}: at most 2 × the time of a short one",
            [case for case in attaches if bool(case.parameters.get("finished")) is finished],
            ("tokens", "last_byte_ms", 2),
        )
    goal = "growth, server's CPU for a token with the most sessions: at most 1.2 × that with the fewest"
    yield _largest(goal, results.of("growth", MIDSENTENCE), ("sessions", SERVER, 1.2))


def _exactness(results: Results) -> Verdict:
    goal = "nobody refused or lost, every token once, every text exact, in all scenarios"
    counts = [case.amiss for case in results.by(MIDSENTENCE) if case.amiss is not None]
    return Verdict(goal, f"{numeral(sum(counts))} amiss", sum(counts) == 0) if counts else Verdict(goal, "", None)


def _verdict(goal: str, measured: str, mine: Case, *, met: bool) -> Verdict:
    """No speed counts that was bought with a token, or by sending readers away."""
    amiss = mine.amiss or 0
    return Verdict(goal, f"{measured}, with {numeral(amiss)} amiss" if amiss else measured, met and not amiss)


def _largest(goal: str, cases: list[Case], terms: tuple[str, str, float]) -> Verdict:
    """The case with the most of a parameter beside the one with the least."""
    size, figure, bound = terms
    ordered = sorted((case for case in cases if case.spread(figure)), key=lambda case: case.parameters[size])
    if len(ordered) < 2:
        return Verdict(goal, "", None)
    return _compared(goal, ordered[-1], ordered[0], figure, bound)


def _compared(goal: str, mine: Case | None, theirs: Case | None, figure: str, bound: float) -> Verdict:
    """The ratio of the medians decides; what the ratio was within each round shows how much that is worth."""
    ours, other = mine and mine.spread(figure), theirs and theirs.spread(figure)
    if mine is None or theirs is None or ours is None or other is None or not other.middle:
        return Verdict(goal, "", None)
    ratio = ours.middle / other.middle
    rounds = [
        value / theirs.rounds[figure][number]
        for number, value in mine.rounds[figure].items()
        if theirs.rounds[figure].get(number)
    ]
    spread = Spread(ratio, min([ratio, *rounds]), max([ratio, *rounds]))
    measured = f"{interval(spread)} = {numeral(ours.middle)} / {numeral(other.middle)}"
    return _verdict(goal, measured, mine, met=ratio <= bound)


def _case(results: Results, scenario: str) -> Case | None:
    """The case that a goal means: that with no flush but for fast models, and a storm in which somebody stayed."""
    meant = {"fast": {"flush_ms": _FLUSH_MS}, "storm": {"staying": 1}}.get(scenario, {"flush_ms": 0})
    cases = results.of(scenario, MIDSENTENCE)
    return next((case for case in cases if case.parameters.items() >= meant.items()), cases[0] if cases else None)
