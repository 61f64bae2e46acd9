"""`python -m bench` runs every contender in every scenario, several rounds in turn, and writes the report."""

import argparse
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench import cpu, report, results
from bench.child import BenchError
from bench.contenders import CONTENDERS
from bench.results import Measurement
from bench.scenario import Scenario, Setting
from bench.scenarios import SCENARIOS

_DOCS = Path(__file__).parents[1] / "docs"
_SECONDS = 4.0
_QUICK_SECONDS = 1.0
# The load average of an idle machine is a few hundredths.
_BUSY = 0.5


class Plan(NamedTuple):
    rounds: int
    scenarios: Sequence[Scenario]
    contenders: Sequence[str]
    seconds: float
    quick: bool
    publish: bool
    out: Path


def plan() -> Plan:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="SCENARIO")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="CONTENDER")
    parser.add_argument("--seconds", type=float, help="the length of each measured window")
    parser.add_argument("--quick", action="store_true", help="small sizes, to check that everything works")
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"))
    parser.add_argument(
        "--publish",
        action="store_true",
        help="replace the published results of these scenarios; a whole run always does",
    )
    given = parser.parse_args()
    if given.publish and (given.quick or len(given.contenders) < len(CONTENDERS)):
        parser.error("--publish needs all contenders at their full size")
    is_whole = not given.quick and len(given.only) == len(SCENARIOS) and len(given.contenders) == len(CONTENDERS)
    return Plan(
        given.rounds,
        [SCENARIOS[name] for name in given.only],
        given.contenders,
        given.seconds or (_QUICK_SECONDS if given.quick else _SECONDS),
        given.quick,
        given.publish or is_whole,
        given.out,
    )


def run(plan: Plan, directory: Path) -> None:
    setting = Setting(directory, plan.seconds, plan.quick)
    for number in range(1, plan.rounds + 1):
        for scenario in plan.scenarios:
            # In turn within a round, so that other load on the machine affects all of them alike.
            for name in plan.contenders:
                if scenario.is_for(name):
                    for parameters, figures in scenario.run(CONTENDERS[name](), setting):
                        # A percentile of no values is NaN, which JSON lacks.
                        known = {figure: value for figure, value in figures.items() if not math.isnan(value)}
                        measurement = Measurement(scenario.name, name, number, parameters, known)
                        results.append(plan.out, measurement)
                        print_line(str(measurement))


def print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    chosen = plan()
    measured = [name for name in chosen.contenders if any(scenario.is_for(name) for scenario in chosen.scenarios)]
    unavailable = [why for name in measured if (why := CONTENDERS[name]().unavailable())]
    if unavailable:
        print_line("\n".join([*unavailable, "Or leave it out: --contenders midsentence …"]))
        return 2
    os.sched_setaffinity(0, {cpu.REST})
    print_line(f"{cpu.raise_file_limit()} open files; {cpu.placement()}")
    if (load := os.getloadavg()[0]) > _BUSY:
        print_line(f"The machine is busy (a load of {load:.1f}): latencies and costs will be those of a busy machine.")
    chosen.out.unlink(missing_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    begun = time.monotonic()
    try:
        run(chosen, directory)
    # The tests' `wait_until` raises AssertionError for a process that did not start in time.
    except (BenchError, AssertionError) as error:
        print_line(f"{error}\nThe logs are in {directory}.")
        return 1
    shutil.rmtree(directory)
    print_line(f"{time.monotonic() - begun:.0f} s")
    # A quick look must not replace what is published.
    docs = _DOCS if chosen.publish else chosen.out.resolve().with_suffix("")
    if not chosen.publish:
        for earlier in ("results.jsonl", "setting.json"):
            (docs / "benchmarks" / earlier).unlink(missing_ok=True)
    report.write(chosen.out, docs)
    print_line(f"{docs / 'benchmarks.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
