"""The plots of the report, as SVG with a transparent background and a grey that is legible on white and on black."""

# pyright: reportUnknownMemberType=false
# (matplotlib leaves the **kwargs of nearly every method untyped.)

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.cases import APPEND, NCHAN, REDIS, SERVER, TOTAL, WORKER, Case, name, numeral, of

_WIDTH = 7.2  # inches
_BLUE, _INK, _FAINT = "#3f7fbf", "#7a7a7a", "#9a9a9a55"
_PARTS = ((SERVER, "server", _BLUE), (APPEND, "append", "#d99a3d"), (REDIS, "Redis", "#b5564e"))
_HOUSE_PARTS = ((WORKER, "worker", "#5d9e6a"), (SERVER, "server", _BLUE), (REDIS, "Redis", "#b5564e"))
_PERCENTILES = (("p50_ms", "p50", "o"), ("p99_ms", "p99", "D"), ("p999_ms", "p99.9", "s"))
_MEMORY = ("bytes_per_connection", (("bytes_per_connection", "server", _BLUE),))
_LEGEND: dict[str, Any] = {"ncols": 3, "loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
_STYLE: dict[Any, Any] = {
    # Ids are derived from this salt and the files hold no date, so the same results give the same bytes.
    "svg.hashsalt": "midsentence",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), _INK),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), _FAINT),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.linewidth": 0.5,
}


def draw(cases: Sequence[Case], directory: Path) -> list[str]:
    """Draw the plots that there are results for; returns the names of the files without their suffix."""
    with mpl.rc_context(_STYLE):
        plots = {
            "cpu": _bars(cases, ("relay", "fanout", "fast"), TOTAL, _PARTS, "µs of CPU for a delivered token"),
            "latency": _latency(cases),
            "memory": _bars(cases, ("idle",), *_MEMORY, "bytes of the server's memory for an idle connection"),
            "house": _bars(_house(cases), ("house",), TOTAL, _HOUSE_PARTS, "µs of CPU for a token"),
            "growth": _bars(cases, ("growth",), SERVER, _PARTS[:1], "µs of the server's CPU for a token"),
        }
        for title, figure in plots.items():
            file = directory / f"{title}.svg"
            # A plot of an earlier run would not match the figures of this one.
            file.unlink(missing_ok=True)
            if figure:
                figure.savefig(file, transparent=True, metadata={"Date": None, "Creator": None})
    return [title for title, figure in plots.items() if figure]


def _house(cases: Sequence[Case]) -> list[Case]:
    """A house's cases that the goals are about, each rate together: a bar for every case would be too many."""
    chosen = [case for case in cases if case.scenario == "house" and case.parameters.get("turns") == 50]
    return sorted(chosen, key=lambda case: case.parameters["rate"])


def _bars(
    cases: Sequence[Case], scenarios: Sequence[str], total: str, parts: Sequence[tuple[str, str, str]], unit: str
) -> Figure | None:
    """A panel for each scenario, and in it a bar of its parts, a whisker and a number for each case."""
    if not (panels := [bars for scenario in scenarios if (bars := of(cases, scenario, total))]):
        return None
    figure, axes = _stack(cases, panels)
    # One scale for all, so that the panels can be compared.
    widest = max(case.spread(total).high for bars in panels for case in bars)
    for ax, bars in zip(axes, panels, strict=True):
        for row, case in enumerate(bars):
            left = 0.0
            for part, label, colour in parts:
                # Nchan's append is the benchmark's own client.
                if part in case.rounds and (part, case.contender) != (APPEND, NCHAN):
                    width = case.spread(part).middle
                    ax.barh(row, width, left=left, height=0.62, color=colour, label="" if row else label)
                    left += width
            middle, low, high = case.spread(total)
            ax.plot([low, high], [row, row], color=_INK, linewidth=1)
            ax.annotate(numeral(middle), (high, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
        ax.set_xlim(0, widest * 1.12)
    axes[0].legend(**_LEGEND)
    axes[-1].set_xlabel(f"{unit}; the whisker is from the lowest round to the highest")
    return figure


def _latency(cases: Sequence[Case]) -> Figure | None:
    if not (rows := of(cases, "relay", "p50_ms")):
        return None
    figure, (ax,) = _stack(cases, [rows])
    for row, case in enumerate(rows):
        points = [(case.spread(key).middle, marker) for key, _, marker in _PERCENTILES if key in case.rounds]
        ax.plot([value for value, _ in points], [row] * len(points), color=_BLUE, linewidth=1.2)
        for value, marker in points:
            ax.plot(value, row, marker, color=_BLUE, markersize=5)
            # p99 and p99.9 are often too close for two numbers above them: the last one is at its right.
            offset, align = ((7, -3), "left") if value == points[-1][0] else ((0, 6), "center")
            ax.annotate(numeral(value), (value, row), offset, textcoords="offset points", ha=align, fontsize=8)
    for _, label, marker in _PERCENTILES:
        ax.plot([], [], marker, color=_BLUE, markersize=5, label=label)
    ax.set(xscale="log", ylim=(len(rows) - 0.4, -0.7), xlabel="ms from the producer's stamp to the reader (log)")
    ax.margins(x=0.12)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.legend(**_LEGEND)
    return figure


def _stack(cases: Sequence[Case], panels: Sequence[Sequence[Case]]) -> tuple[Figure, list[Axes]]:
    """Panels below each other, each as high as its rows need."""
    rows = [len(panel) for panel in panels]
    figure = Figure(figsize=(_WIDTH, sum(0.3 * number + 0.55 for number in rows) + 0.35), layout="constrained")
    axes: list[Axes] = list(figure.subplots(len(rows), 1, squeeze=False, height_ratios=[n + 1 for n in rows])[:, 0])
    for ax, panel in zip(axes, panels, strict=True):
        ax.set_yticks(range(len(panel)), [name(cases, case) for case in panel])
        ax.set_title(panel[0].scenario)
        ax.invert_yaxis()
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
    return figure, axes
