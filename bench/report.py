"""`python -m bench.report` writes docs/benchmarks.md and its pictures again from the results that are kept there."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from pathlib import Path
from string import Template

import msgspec

from bench import plots
from bench.figures import columns, details, interval, label, numeral, parameter
from bench.goals import OTHERS, Verdict, judge, thirds
from bench.machine import Setting, look
from bench.medians import AMISS, Case, Results, load
from bench.prose import SCENARIOS

_DOCS = Path(__file__).parents[1] / "docs"
_TEMPLATE = Path(__file__).with_name("report.md.template")
# Of a core. Beyond this there is no time left in which anybody waits.
_SATURATED = 0.95
# Which pictures stand under which scenario.
_PICTURES = {
    "relay": (("cpu", "CPU for a delivered token"), ("latency", "Latency from producer to reader")),
    "idle": (("memory", "Memory of an idle connection"),),
    "growth": (("growth", "CPU for a token by number of sessions"),),
}


def write(results: Path, docs: Path) -> None:
    """Writes benchmarks.md, and into benchmarks/ the pictures, results.jsonl and setting.json.

    Beside these a hand-written benchmarks/findings.md may stand; the report takes it up.
    """
    kept = docs / "benchmarks" / "results.jsonl"
    beside, findings = kept.with_name("setting.json"), kept.with_name("findings.md")
    kept.parent.mkdir(parents=True, exist_ok=True)
    if results.resolve() == kept.resolve():
        setting = msgspec.json.decode(beside.read_bytes(), type=Setting)
    else:
        setting = look(_command(sys.argv[1:]))
        kept.write_bytes(results.read_bytes())
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(setting)) + b"\n")
    found = load(kept)
    drawn = plots.draw(found, kept.parent)
    text = Template(_TEMPLATE.read_text()).substitute(
        goals="\n".join(_goals(found)),
        findings=findings.read_text() if findings.exists() else "",
        places=setting.places,
        rounds=_rounds(found),
        scenarios="\n".join(part for scenario in found.scenarios() for part in _scenario(found, scenario, drawn)),
        checked=_checked(found),
        saturated=_saturated(found),
        command=setting.command,
        machine=_table(("machine", ""), list(setting.machine.items())),
        versions=_table(("version", ""), list(setting.versions.items())),
    )
    (docs / "benchmarks.md").write_text(text)


def _command(arguments: Sequence[str]) -> str:
    """Where somebody put their results is theirs, and not how to do it again."""
    said: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--out":
            next(rest, None)
        elif not argument.startswith("--out="):
            said.append(argument)
    return shlex.join(["scripts/bench", *said])


def _goals(results: Results) -> Iterator[str]:
    verdicts = judge(results)
    compared = list(thirds(results))
    everything = [*verdicts, *(verdict for _, peers in compared for verdict in peers.values())]
    met, missed = (sum(verdict.met is said for verdict in everything) for said in (True, False))
    yield f"Of {met + missed} goals that this run measured, {met} are met and {missed} missed."
    if unmeasured := len(everything) - met - missed:
        yield f"{unmeasured} more were not measured, and nothing is claimed of them."
    yield "A ratio is that of the medians, and behind it what it was within the single rounds.\n"
    yield _table(("goal", "measured", "met"), [(verdict.goal, *_verdict(verdict)) for verdict in verdicts])
    if compared:
        yield "At most a third of what one would otherwise put into an application, everywhere:\n"
        header = ("", *(name for peer in OTHERS for name in (peer, "met")))
        yield _table(
            header, [(what, *(c for peer in OTHERS for c in _verdict(peers[peer]))) for what, peers in compared]
        )
    if missed:
        yield "What is not reached:\n"
        yield "".join(f"- {what}: {measured}\n" for what, measured in _missed(verdicts, compared))


def _missed(
    verdicts: Sequence[Verdict], compared: Sequence[tuple[str, dict[str, Verdict]]]
) -> Iterator[tuple[str, str]]:
    yield from ((verdict.goal, verdict.measured) for verdict in verdicts if verdict.met is False)
    for what, peers in compared:
        for peer, verdict in peers.items():
            if verdict.met is False:
                yield f"{what}, at most ⅓ of {peer}", verdict.measured


def _verdict(verdict: Verdict) -> tuple[str, str]:
    return verdict.measured or "–", {True: "yes", False: "**no**", None: "not measured"}[verdict.met]


def _rounds(results: Results) -> str:
    counts = {len(values) for case in results.cases for values in case.rounds.values()}
    if not counts:
        return "Nothing was measured."
    least, most = min(counts), max(counts)
    rounds = f"{most}" if least == most else f"{least} to {most}"
    return f"This run had {rounds} round{'' if rounds == '1' else 's'}."


def _scenario(results: Results, scenario: str, drawn: Sequence[str]) -> Iterator[str]:
    cases = results.of(scenario)
    varying = results.varying(scenario)
    title, what = SCENARIOS.get(scenario, (scenario.replace("_", " ").capitalize(), ""))
    yield f"### {title}\n"
    given = ", ".join(parameter(name, value) for name, value in cases[0].parameters.items() if name not in varying)
    yield f"{cleandoc(what)}{f' ({given}.)' if given else ''}\n".lstrip()
    figures = columns(cases)
    header = ("", *(name.replace("_", " ") for name in varying), *(label(figure) for figure in figures))
    yield _table(header, [_line(case, varying, figures) for case in cases])
    for name, caption in _PICTURES.get(scenario, ()):
        if name in drawn:
            yield f"![{caption}](benchmarks/{name}.svg)\n"


def _line(case: Case, varying: Sequence[str], figures: Sequence[str]) -> list[str]:
    cells = [case.contender, *(_cell(case.parameters.get(name)) for name in varying)]
    for figure in figures:
        spread = case.spread(figure)
        cells.append(interval(spread) if spread else "–")
    return cells


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return numeral(value) if isinstance(value, int | float) else str(value or "–")


def _checked(results: Results) -> str:
    """What the readers found amiss."""
    lines: list[str] = []
    for contender in dict.fromkeys(case.contender for case in results.cases):
        found = {
            figure: sum(sum(case.rounds[figure].values()) for case in results.by(contender) if figure in case.rounds)
            for figure in AMISS
            if any(figure in case.rounds for case in results.by(contender))
        }
        if found:
            told = ", ".join(f"{numeral(total)} {label(figure)}" for figure, total in found.items())
            lines.append(f"- {contender}: {told}.\n")
    if not lines:
        return ""
    return "### What the readers found amiss\n\nIn all scenarios and rounds together.\n\n" + "".join(lines)


def _saturated(results: Results) -> str:
    lines = [
        f"- {', '.join([case.contender, case.scenario, *details(results, case)])}: {who} used {share:.0%} of its core\n"
        for case in results.cases
        for figure, who in (("server_busy", "the server"), ("rest_busy", "what feeds and reads it"))
        if (share := case.middle(figure) or 0) >= _SATURATED
    ]
    if not lines:
        return ""
    return "### At the limit\n\nHere nothing was left over, and a latency is that of a queue.\n\n" + "".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" if len(header) > 3 else "---" for _ in header[1:])]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows))


def main() -> None:
    write(_DOCS / "benchmarks" / "results.jsonl", _DOCS)


if __name__ == "__main__":
    main()
