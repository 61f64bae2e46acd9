"""The report's pictures: SVG on no ground, in a grey that can be read on white and on black."""

# pyright: reportUnknownMemberType=false
# (matplotlib leaves the **kwargs of nearly every method untyped.)

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import details, numeral
from bench.medians import MIDSENTENCE, NCHAN, TOTAL, Case, Results

_WIDTH = 7.2  # inches
_INK = "#7a7a7a"
_FAINT = "#9a9a9a55"
# The parts of a token's cost, from the server outwards.
_PARTS = (
    ("server_us_per_token", "server", "#3f7fbf"),
    ("append_us_per_token", "append", "#d99a3d"),
    ("redis_us_per_token", "Redis", "#b5564e"),
)
_PERCENTILES = (("p50_ms", "p50", "o"), ("p99_ms", "p99", "D"), ("p999_ms", "p99.9", "s"))
_STYLE: dict[Any, Any] = {
    # The same results give the same bytes: ids come from this, and no file tells the day.
    "svg.hashsalt": "midsentence",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.edgecolor": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
}


def draw(results: Results, directory: Path) -> list[str]:
    """Draws what the results hold something for; the names of the files, without their suffix."""
    pictures = {"cpu": _cpu, "latency": _latency, "memory": _memory, "growth": _growth}
    directory.mkdir(parents=True, exist_ok=True)
    drawn: list[str] = []
    with mpl.rc_context(_STYLE):
        for name, picture in pictures.items():
            figure = picture(results)
            file = directory / f"{name}.svg"
            if figure is None:
                # One of an earlier run would stand beside figures that it does not belong to.
                file.unlink(missing_ok=True)
                continue
            figure.savefig(file, transparent=True, metadata={"Date": None, "Creator": None})
            drawn.append(name)
    return drawn


def _cpu(results: Results) -> Figure | None:
    panels = [
        (scenario, cases)
        for scenario in ("relay", "fanout", "fast")
        if (cases := [case for case in results.of(scenario) if case.spread("server_us_per_token")])
    ]
    if not panels:
        return None
    figure, axes = _stack([len(cases) for _, cases in panels])
    # One scale for all: a token costs what it costs, and the panels are there to be compared too.
    widest = max(_high(case, TOTAL) for _, cases in panels for case in cases)
    for ax, (scenario, cases) in zip(axes, panels, strict=True):
        names = [_name(results, case) for case in cases]
        left = [0.0] * len(cases)
        for figure_name, part, colour in _PARTS:
            widths = [_part(case, figure_name) for case in cases]
            ax.barh(names, widths, left=left, height=0.62, color=colour, label=part)
            left = [before + width for before, width in zip(left, widths, strict=True)]
        for place, case in enumerate(cases):
            _ends(ax, place, case, TOTAL, 1)
        ax.set(xlim=(0, widest * 1.12), title=scenario)
    axes[0].legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    axes[-1].set_xlabel("µs of CPU for a delivered token; the whisker is from the lowest round to the highest")
    return figure


def _latency(results: Results) -> Figure | None:
    cases = [case for case in results.of("relay") if case.spread("p50_ms")]
    if not cases:
        return None
    figure, (ax,) = _stack([len(cases)])
    for place, case in enumerate(cases):
        points = [(case.middle(name) or 0.0, marker) for name, _, marker in _PERCENTILES if case.spread(name)]
        colour = _PARTS[0][2] if case.contender == MIDSENTENCE else _INK
        ax.plot([value for value, _ in points], [place] * len(points), color=colour, linewidth=1.2)
        for value, marker in points:
            ax.plot(value, place, marker, color=colour, markersize=5)
            # The last one's number stands behind it: p99 and p99.9 are often too near for two above each other.
            offset, align = ((7, -3), "left") if value == points[-1][0] else ((0, 6), "center")
            ax.annotate(numeral(value), (value, place), offset, textcoords="offset points", ha=align, fontsize=8)
    for _, percentile, marker in _PERCENTILES:
        ax.plot([], [], marker, color=_INK, markersize=5, label=percentile)
    ax.set(
        xscale="log",
        ylim=(len(cases) - 0.4, -0.7),
        xlabel="ms from the producer's stamp to the reader (log)",
        title="relay",
    )
    ax.set_yticks(range(len(cases)), [_name(results, case) for case in cases])
    ax.margins(x=0.12)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    return figure


def _memory(results: Results) -> Figure | None:
    cases = [case for case in results.of("idle") if case.spread("bytes_per_connection")]
    if not cases:
        return None
    figure, (ax,) = _stack([len(cases)])
    widths = [(case.middle("bytes_per_connection") or 0.0) / 1024 for case in cases]
    colours = [_PARTS[0][2] if case.contender == MIDSENTENCE else _FAINT for case in cases]
    ax.barh([_name(results, case) for case in cases], widths, height=0.62, color=colours)
    for place, case in enumerate(cases):
        _ends(ax, place, case, "bytes_per_connection", 1024)
    widest = max(_high(case, "bytes_per_connection") for case in cases) / 1024
    ax.set(
        xlim=(0, widest * 1.12), xlabel="KB (1,024 bytes) of the server's memory for an idle connection", title="idle"
    )
    return figure


def _growth(results: Results) -> Figure | None:
    lines: dict[str, list[Case]] = {}
    for case in results.of("growth"):
        if case.spread("server_us_per_token") and "sessions" in case.parameters:
            lines.setdefault(case.contender, []).append(case)
    if not lines:
        return None
    figure = Figure(figsize=(_WIDTH, 2.6), layout="constrained")
    ax = figure.add_subplot()
    for contender, cases in lines.items():
        cases.sort(key=lambda case: case.parameters["sessions"])
        spreads = [spread for case in cases if (spread := case.spread("server_us_per_token"))]
        sessions = [case.parameters["sessions"] for case in cases]
        middles = [spread.middle for spread in spreads]
        whiskers = [[s.middle - s.low for s in spreads], [s.high - s.middle for s in spreads]]
        colour = _PARTS[0][2] if contender == MIDSENTENCE else _INK
        ax.errorbar(sessions, middles, whiskers, color=colour, marker="o", markersize=4, linewidth=1.2, elinewidth=0.8)
        ax.annotate(
            contender, (sessions[-1], middles[-1]), (8, 0), textcoords="offset points", va="center", color=colour
        )
    ax.set(xscale="log", xlabel="sessions (log)", ylabel="µs of the server's CPU a token", title="growth")
    ax.set_ylim(0)
    ax.margins(x=0.22)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.grid(axis="y")
    return figure


def _stack(bars: list[int]) -> tuple[Figure, list[Axes]]:
    """Panels below each other, each as high as its bars need."""
    height = sum(0.3 * number + 0.55 for number in bars) + 0.35
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    grid = figure.subplots(len(bars), 1, squeeze=False, height_ratios=[number + 1 for number in bars])
    axes: list[Axes] = list(grid[:, 0])
    for ax in axes:
        ax.invert_yaxis()
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
    return figure, axes


def _ends(ax: Axes, place: int, case: Case, figure: str, unit: float) -> None:
    """A bar's whisker and, behind it, its number."""
    spread = case.spread(figure)
    if spread is None:
        return
    low, middle, high = spread.low / unit, spread.middle / unit, spread.high / unit
    ax.plot([low, high], [place, place], color=_INK, linewidth=1)
    ax.annotate(
        numeral(middle), (max(high, middle), place), (4, 0), textcoords="offset points", va="center", fontsize=8
    )


def _high(case: Case, figure: str) -> float:
    spread = case.spread(figure)
    return spread.high if spread else 0.0


def _name(results: Results, case: Case) -> str:
    return ", ".join([case.contender, *details(results, case)])


def _part(case: Case, figure: str) -> float:
    # Nchan's append is the benchmark's own client: see medians.py.
    return 0.0 if case.contender == NCHAN and figure == "append_us_per_token" else case.middle(figure) or 0.0
