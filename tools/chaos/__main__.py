"""`scripts/chaos`: kill everything, again and again, and compare every text that was read with what the model wrote."""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tools.chaos.run import Options, Outcome, run

VIOLATIONS = {"mismatch": "mismatches", "duplicate": "duplicates", "hole": "holes", "stuck": "stuck turns"}
SHOWN_VIOLATIONS = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long faults happen")
    parser.add_argument("--seed", type=int, default=None, help="decides everything random")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=16, help="how many conversations are held at once")
    parser.add_argument("--takeover", choices=("auto", "restart", "continue", "reattach"), default="auto")
    parser.add_argument("--api", choices=("chat", "responses"), default="chat")
    parser.add_argument("--tails", action="store_true", help="let Valkey also lose its last writes")
    parser.add_argument("--keep", type=Path, help="keep the logs of all processes in this directory")
    parser.add_argument("--quiet", action="store_true", help="do not print each fault")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    options = Options(
        seed,
        arguments.seconds,
        arguments.servers,
        arguments.workers,
        arguments.sessions,
        arguments.takeover,
        arguments.api,
        arguments.tails,
    )
    print(f"seed {seed}: {options}", flush=True)
    # Otherwise a SIGTERM would leave the run's processes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="midsentence-chaos-") as temporary:
        directory = arguments.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        outcome = run(options, directory, _print if not arguments.quiet else _ignore)
    print(report(outcome, time.monotonic() - begun), flush=True)
    return 1 if outcome.violations else 0


def report(outcome: Outcome, seconds: float) -> str:
    lines = [f"{seconds:.0f} s"]
    lines += [f"{name:<42} {value:>8}" for name, value in outcome.figures.items()]
    kills = sum(count for (_, action), count in outcome.actions.items() if "pause" not in action)
    lines.append(f"{'kills':<42} {kills:>8}")
    lines += [f"  {kind} {action:<38} {count:>8}" for (kind, action), count in sorted(outcome.actions.items())]
    lines += [str(violation) for violation in outcome.violations[:SHOWN_VIOLATIONS]]
    lines += [f"{name:<42} {outcome.count(kind):>8}" for kind, name in VIOLATIONS.items()]
    return "\n".join(lines)


def _print(line: str) -> None:
    print(line, flush=True)


def _ignore(line: str) -> None:
    del line


if __name__ == "__main__":
    sys.exit(main())
