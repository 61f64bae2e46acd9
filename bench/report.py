"""`python -m bench.report` writes the figures and the plots in docs/benchmarks.md again from the results beside it."""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench import plots, results
from bench.cases import RARE, Case, label, load, name, parameter
from bench.goals import Verdict, judge
from bench.machine import Setting, current
from bench.scenarios import SCENARIOS

_DOCS = Path(__file__).parents[1] / "docs"
# Of a core. Where a server uses more, requests wait for it, and a latency is that of the queue.
_SATURATED = 0.95
_BLOCKS = ("goals", "figures")
_END = "<!-- end -->"


def write(new: Path, docs: Path) -> None:
    """Merge the results of a run into docs/benchmarks/, and write the page anew.

    They replace the kept results of the same scenarios. setting.json says of which run each scenario is.
    """
    kept, setting = docs / "benchmarks" / "results.jsonl", docs / "benchmarks" / "setting.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    measured = list(results.read(new))
    scenarios = [name for name in SCENARIOS if any(row.scenario == name for row in measured)]
    # The output path belongs to one machine.
    command = re.sub(r" --out[ =]\S+", "", shlex.join(["scripts/bench", *sys.argv[1:]]))
    earlier = msgspec.json.decode(setting.read_bytes(), type=Setting) if setting.exists() else Setting([])
    encoded = msgspec.json.encode(earlier.with_run(current(command, scenarios)))
    setting.write_bytes(msgspec.json.format(encoded) + b"\n")
    results.write(kept, results.merged(results.read(kept) if kept.exists() else (), measured, list(SCENARIOS)))
    write_page(docs)


def write_page(docs: Path) -> None:
    """Write the blocks of benchmarks.md and the plots in benchmarks/ from the kept results.

    The text around the blocks is written by hand and stays.
    """
    kept, page = docs / "benchmarks" / "results.jsonl", docs / "benchmarks.md"
    cases = load(kept)
    verdicts, unmeasured = judge(cases)
    pictures = [f"\n![{plot}](benchmarks/{plot}.svg)" for plot in plots.draw(cases, kept.parent)]
    blocks = (_goals(cases, verdicts, unmeasured), [*_table(cases, verdicts), *pictures])
    text = page.read_text() if page.exists() else "\n".join(f"{_begin(block)}\n{_END}\n" for block in _BLOCKS)
    for block, lines in zip(_BLOCKS, blocks, strict=True):
        before, begin, rest = text.partition(_begin(block))
        _, end, after = rest.partition(_END)
        text = before + "\n".join([begin, *lines, end]) + after
    page.write_text(text)


def _begin(block: str) -> str:
    return f"<!-- {block}: written by bench/report.py -->"


def _goals(cases: Sequence[Case], verdicts: Sequence[Verdict], unmeasured: int) -> Iterator[str]:
    met = sum(verdict.met for verdict in verdicts)
    more = f" {unmeasured} more were not measured." if unmeasured else ""
    yield f"Of {len(verdicts)} goals that were measured, {met} are met and {len(verdicts) - met} missed.{more}\n"
    for case, figure, is_met, text in verdicts:
        # The goals that are met stand in the table, except the one for all scenarios.
        if not is_met or case is None:
            where = f"{case.scenario}, {name(cases, case)}" if case else "all scenarios, midsentence"
            yield f"- {where}: {label(figure)} {text}"


def _table(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> Iterator[str]:
    """A row for each figure under each set of parameters, and a column for each contender."""
    contenders = list(dict.fromkeys(case.contender for case in cases))
    yield _row("", *contenders, "goals")
    yield _row("---", *("---:" for _ in contenders), "---")
    groups: dict[str, dict[str, Case]] = {}
    for case in cases:
        given = ", ".join(parameter(key, value) for key, value in case.parameters.items())
        groups.setdefault(f"**{case.scenario}**: {given}", {})[case.contender] = case
    for title, group in groups.items():
        yield _row(title, *("" for _ in contenders), "")
        for figure in dict.fromkeys(figure for case in group.values() for figure in case.rounds):
            # An error has a row only where there was one.
            if figure not in RARE or any(any(case.rounds.get(figure, {}).values()) for case in group.values()):
                goals = (
                    verdict.text for verdict in verdicts if verdict.figure == figure and verdict.case in group.values()
                )
                cells = (_cell(group.get(contender), figure) for contender in contenders)
                yield _row(label(figure), *cells, "; ".join(goals))


def _cell(case: Case | None, figure: str) -> str:
    if case is None or figure not in case.rounds:
        return "–"
    spread = case.spread(figure)
    return f"**{spread}**" if figure.endswith("busy") and spread.middle >= _SATURATED else str(spread)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    write_page(_DOCS)
