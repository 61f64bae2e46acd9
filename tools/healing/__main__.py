"""`scripts/healing`: cut every third stream of a provider at a random byte, and compare all answers with what it wrote.

One server and one worker with the default settings for healing answer many turns at once. Every stream counts: those of
later attempts and those that re-attach too. The cut is a clean end or a reset by turns, and falls behind the first
event. (In the first event of a response, a provider gives the response its id. If that event is cut, nobody can find
the response again, so it cannot be re-attached.)

Exits with 1 unless every answer is whole, the usage of all attempts adds up to that of the end, and, where answers are
re-attached, no token was asked for twice.
"""

import argparse
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tools.healing.run import Options, Outcome, run

SHOWN_VIOLATIONS = 20


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/healing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--mode", choices=("restart", "continue", "reattach"), default="restart")
    parser.add_argument("--every", type=int, default=3, help="which streams are cut: every third, for example")
    parser.add_argument("--seed", type=int, default=None, help="decides everything random")
    parser.add_argument("--at-once", type=int, default=50, help="how many turns run at once")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep the logs of all processes in this directory")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    options = Options(arguments.turns, arguments.mode, arguments.every, seed, arguments.at_once, arguments.workers)
    print(options, flush=True)
    # Otherwise a SIGTERM would leave the run's processes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="midsentence-healing-") as temporary:
        directory = arguments.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        outcome = run(options, directory, lambda line: print(line, flush=True))
    print(report(outcome), flush=True)
    is_whole = outcome.whole == options.turns
    return 0 if is_whole and (options.mode != "reattach" or outcome.written_again == 0) else 1


def report(outcome: Outcome) -> str:
    streams = [outcome.streams[turn.question] for turn in outcome.turns]
    ends = Counter(turn.end for turn in outcome.turns)
    figures: dict[str, object] = {
        "turns": len(outcome.turns),
        "whole texts": outcome.whole,
        **{f"  ended {reason}": count for reason, count in sorted(ends.items())},
        "streams": sum(streams),
        "streams cut": outcome.cuts.total(),
        **{f"  by a {action}": count for action, count in sorted(outcome.cuts.items())},
        "streams per turn, most": max(streams, default=0),
        "streams per turn, mean": f"{sum(streams) / max(1, len(streams)):.2f}",
        "resets read": sum(turn.resets for turn in outcome.turns),
        "tokens written by the provider": outcome.written,
        "tokens written again": outcome.written_again,
        "usages checked": sum(turn.is_followed for turn in outcome.turns),
        "seconds": f"{outcome.seconds:.0f}",
    }
    lines = [f"{name:<42} {value:>8}" for name, value in figures.items()]
    wrong = [f"{turn.question}: {detail}" for turn in outcome.turns for detail in turn.violations]
    return "\n".join([*lines, *wrong[:SHOWN_VIOLATIONS]])


if __name__ == "__main__":
    sys.exit(main())
