"""The goals for midsentence's costs, and whether a run met them."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from bench.cases import (
    MIDSENTENCE,
    NCHAN,
    SERVER,
    SERVER_AND_REDIS,
    TOTAL,
    WORKER,
    Case,
    Spread,
    numeral,
    of,
    parameter,
)


class Goal(NamedTuple):
    """At most `bound`, or `bound` times the figure of `than`: a contender, or the case with the least of a parameter.

    If `is_least`, the bound is the least and not the most. The goal is about midsentence's first case with the
    parameters `where`, or the one with the most of the parameter `than`.
    """

    scenario: str
    figure: str
    bound: float
    than: str = ""
    where: Mapping[str, float] = {}
    is_least: bool = False


class Verdict(NamedTuple):
    """`case` is None for a goal over all scenarios."""

    case: Case | None
    figure: str
    met: bool
    text: str


_GOALS = (
    # Nchan's side is its server alone: it has no Redis, and its producer is the benchmark's own.
    Goal("relay", SERVER, 0.75, NCHAN),
    Goal("relay", SERVER_AND_REDIS, 1, NCHAN),
    Goal("fanout", SERVER, 1, NCHAN),
    Goal("fast", TOTAL, 0.5, NCHAN, {"flush_ms": 25}),  # the default of MIDSENTENCE_FLUSH_MS
    Goal("relay", "p50_ms", 0.5),
    Goal("relay", "p99_ms", 2),
    Goal("idle", "bytes_per_connection", 8192),
    Goal("storm", "storm_us_per_connect", 180, where={"staying": 1}),  # the replay comes from memory
    Goal("replay", "last_byte_ms", 2, "tokens", {"finished": False}),
    Goal("replay", "last_byte_ms", 2, "tokens", {"finished": True}),
    Goal("growth", SERVER, 1.2, "sessions"),
    Goal("house", WORKER, 70, where={"turns": 50, "rate": 20}),
    Goal("house", WORKER, 45, where={"turns": 50, "rate": 100}),
    Goal("house", "worker_bytes_per_turn", 250 * 1024, where={"turns": 256, "rate": 20}),
    # With a p99 of at most 60 ms, by the scenario's definition.
    Goal("capacity", "tokens_per_second", 12_000, is_least=True),
    Goal("post", "first_token_p50_ms", 4),
    Goal("post", "first_token_p99_ms", 8),
)
# At most a third of what an application would otherwise be built with, wherever both were measured.
_COSTS = (SERVER, TOTAL, "connect_us", "storm_us_per_connect", "server_us_per_attach")
_PEERS = ("handwritten", "resumable-stream")
# Of what a whole house spends on a token.
_HOUSE_SHARES = {"handwritten": 1 / 4, "resumable-stream": 1 / 2}


def judge(cases: Sequence[Case]) -> tuple[list[Verdict], int]:
    """The goals that the run measured, and the number of those that it did not."""
    verdicts = [_judge(cases, goal) for goal in _GOALS]
    measured = [verdict for verdict in verdicts if verdict]
    mine = [case for case in cases if case.contender == MIDSENTENCE]
    shares = [
        Goal(case.scenario, figure, 1 / 3, peer, case.parameters)
        for case, figure, peer in product(mine, _COSTS, _PEERS)
        if WORKER not in case.rounds
    ]
    shares += [
        Goal("house", TOTAL, share, peer, case.parameters)
        for case, (peer, share) in product(mine, _HOUSE_SHARES.items())
        if case.scenario == "house"
    ]
    measured += [verdict for goal in shares if (verdict := _judge(cases, goal))]
    # No reader is refused or lost, every token comes once, and every text is exact.
    if counted := [case.errors for case in mine if case.errors is not None]:
        measured.append(_verdict(None, "errors", "≤ 0", numeral(sum(counted)), met=not any(counted)))
    return measured, verdicts.count(None)


def _judge(cases: Sequence[Case], goal: Goal) -> Verdict | None:
    scenario, figure, bound, than, where, is_least = goal
    found = [case for case in of(cases, scenario, figure, MIDSENTENCE) if where.items() <= case.parameters.items()]
    if not found:
        return None
    if not than:
        spread = found[0].spread(figure)
        met = spread.middle >= bound if is_least else spread.middle <= bound
        return _verdict(found[0], figure, f"{'≥' if is_least else '≤'} {numeral(bound)}", str(spread), met=met)
    if than in found[0].parameters:
        least, most = (pick(found, key=lambda case: case.parameters[than]) for pick in (min, max))
        than = f"that with {parameter(than, least.parameters[than])}"
        return None if least is most else _compare(most, least, figure, bound, than)
    # Some parameters, such as the flush, are midsentence's own: the peer's case with the most in common.
    peers = of(cases, scenario, figure, than)
    common = [len(peer.parameters.items() & found[0].parameters.items()) for peer in peers]
    return _compare(found[0], peers[common.index(max(common))], figure, bound, than) if peers else None


def _compare(case: Case, other: Case, figure: str, bound: float, name: str) -> Verdict:
    """The ratio of the medians decides; the ratios within the rounds show how much it varied."""
    mine, theirs = case.spread(figure).middle, other.spread(figure).middle
    rounds = other.rounds[figure]
    ratios = [mine / theirs, *(value / rounds[n] for n, value in case.rounds[figure].items() if n in rounds)]
    measured = f"{Spread(ratios[0], min(ratios), max(ratios))} = {numeral(mine)} / {numeral(theirs)}"
    return _verdict(case, figure, f"≤ {bound:.2g} × {name}", measured, met=ratios[0] <= bound)


def _verdict(case: Case | None, figure: str, bound: str, measured: str, *, met: bool) -> Verdict:
    """A case with errors meets no goal."""
    if case and case.errors:
        measured, met = f"{measured} with {numeral(case.errors)} errors", False
    return Verdict(case, figure, met, f"{bound}: {measured}, {'met' if met else '**missed**'}")
