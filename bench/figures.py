"""What the figures are called in the report, and how a number is written."""

from collections.abc import Sequence

from bench.medians import AMISS, SERVER_AND_REDIS, TOTAL, Case, Results, Spread

# In the order of the tables' columns. A figure that is not here is reported under its own name, behind these.
LABELS = {
    "server_us_per_token": "server, µs a token",
    "append_us_per_token": "append, µs a token",
    "redis_us_per_token": "Redis, µs a token",
    SERVER_AND_REDIS: "server and Redis, µs a token",
    TOTAL: "all of it, µs a token",
    "server_busy": "server busy, of a core",
    "readers_us_per_token": "readers, µs a token",
    "reads_per_token": "reads a token",
    "rest_busy": "load and Redis busy, of a core",
    "delivered": "tokens delivered",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "p999_ms": "p99.9, ms",
    "connected": "connected",
    "bytes_per_connection": "bytes a connection",
    "connect_us": "server, µs a connect",
    "connect_redis_us": "Redis, µs a connect",
    "connect_p50_ms": "connect p50, ms",
    "connect_p99_ms": "connect p99, ms",
    "held_busy": "server busy with holding them, of a core",
    "cut": "cut",
    "back": "back",
    "exact": "texts exact",
    "wrong": "texts wrong",
    "storm_us_per_connect": "server, µs a reconnect",
    "storm_redis_us_per_connect": "Redis, µs a reconnect",
    "storm_p50_s": "back p50, s",
    "storm_p99_s": "back p99, s",
    "storm_max_s": "back last, s",
    "first_byte_ms": "first byte, ms",
    "last_byte_ms": "last byte, ms",
    "server_us_per_attach": "server, µs an attach",
    "redis_us_per_attach": "Redis, µs an attach",
    "accepted_p50_ms": "POST → 202 p50, ms",
    "accepted_p99_ms": "POST → 202 p99, ms",
    "first_token_p50_ms": "POST → first token p50, ms",
    "first_token_p99_ms": "POST → first token p99, ms",
    "server_us_per_question": "server, µs a question",
    "missing": "tokens missing",
    "duplicates": "tokens twice",
    "lost": "connections lost",
    "refused": "connections refused",
}
# Sums that the goals use and the parts tell already.
HIDDEN = {SERVER_AND_REDIS}


def label(figure: str) -> str:
    return LABELS.get(figure, figure.replace("_us_", "_µs_").replace("_", " "))


def numeral(value: float) -> str:
    """Three digits are what such measurements are worth; whole numbers are counted and stay whole."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def columns(cases: Sequence[Case]) -> list[str]:
    """The figures that a scenario's table has: the known ones in their order, then the others in the file's.

    What is amiss has a column only where there was any; the report has a list of it all.
    """
    present = dict.fromkeys(
        figure
        for case in cases
        for figure, values in case.rounds.items()
        if figure not in AMISS or any(values.values())
    )
    known = [figure for figure in LABELS if figure in present and figure not in HIDDEN]
    return [*known, *(figure for figure in present if figure not in LABELS)]


def parameter(name: str, value: object) -> str:
    """`flush_ms: 25` is said as "flush 25 ms", and a yes or no by its name."""
    if isinstance(value, bool):
        return name if value else f"not {name}"
    told = numeral(value) if isinstance(value, int | float) else str(value)
    return f"{name[:-3]} {told} ms" if name.endswith("_ms") else f"{name.replace('_', ' ')} {told}"


def interval(spread: Spread) -> str:
    """The median, and what the rounds lie between where they differ."""
    middle, low, high = (numeral(value) for value in spread)
    return middle if low == high else f"{middle} ({low}–{high})"


def details(results: Results, case: Case) -> list[str]:
    """What tells a case from the others of its contender in a scenario."""
    if len(results.of(case.scenario, case.contender)) == 1:
        return []
    varying = results.varying(case.scenario)
    return [parameter(name, case.parameters[name]) for name in varying if name in case.parameters]
