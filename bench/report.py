"""`python -m bench.report` writes the figures and the plots in docs/benchmarks.md again from the results beside it."""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench import plots
from bench.cases import ERRORS, Case, label, load, name, parameter
from bench.goals import Verdict, judge
from bench.machine import current

_DOCS = Path(__file__).parents[1] / "docs"
# Of a core. Where a server uses more, requests wait for it, and a latency is that of the queue.
_SATURATED = 0.95
_BLOCKS = ("goals", "figures")
_END = "<!-- end -->"


def write(results: Path, docs: Path) -> None:
    """Write the blocks of benchmarks.md, and the plots, results.jsonl and setting.json in benchmarks/.

    The text around the blocks is written by hand and stays.
    """
    kept, page = docs / "benchmarks" / "results.jsonl", docs / "benchmarks.md"
    if results.resolve() != kept.resolve():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(results.read_bytes())
        # The output path belongs to one machine.
        command = re.sub(r" --out[ =]\S+", "", shlex.join(["scripts/bench", *sys.argv[1:]]))
        setting = msgspec.json.encode(current(command))
        kept.with_name("setting.json").write_bytes(msgspec.json.format(setting) + b"\n")
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
    more = f" It did not measure {unmeasured} more." if unmeasured else ""
    yield f"Of {len(verdicts)} goals that this run measured, {met} are met and {len(verdicts) - met} missed.{more}\n"
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
            if figure not in ERRORS or any(any(case.rounds.get(figure, {}).values()) for case in group.values()):
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
    write(_DOCS / "benchmarks" / "results.jsonl", _DOCS)
