"""`scripts/chaos`: kill and break everything, again and again, and compare every text with what the providers wrote.

Servers, workers and Valkey are killed, paused and restarted. Of two providers one at a time is down for seconds: it
refuses connections, is silent, or answers 500, 503 or 429, some with Retry-After. And a quarter of all streams is cut,
reset, silent for longer than the model's time-out, ended by an error, or sent byte by byte for a while.

Exits with 1 where a text differs, an event is missing or comes twice, a turn has no end, or a turn ends in an error
although one of its models was up all the time.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tools.chaos.run import Options, Outcome, run

VIOLATIONS = {
    "mismatch": "mismatches",
    "duplicate": "duplicates",
    "hole": "holes",
    "stuck": "stuck turns",
    "error": "errors though a model lived",
}
SHOWN_VIOLATIONS = 20


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long faults happen")
    parser.add_argument("--seed", type=int, default=None, help="decides everything random")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=16, help="how many conversations are held at once")
    parser.add_argument("--takeover", choices=("auto", "restart", "continue", "reattach"), default="auto")
    parser.add_argument("--api", choices=("chat", "responses"), default="chat")
    parser.add_argument("--models", type=int, choices=(1, 2), default=2, help="how many models, each with its provider")
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
        arguments.models,
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
    lines += [_line(name, value) for name, value in outcome.figures.items()]
    kills = sum(
        count for (victim, action), count in outcome.actions.items() if victim != "provider" and "pause" not in action
    )
    lines.append(_line("kills", kills))
    lines += [_line(f"  {victim} {action}", count) for (victim, action), count in sorted(outcome.actions.items())]
    lines.append(_line("streams that were spoilt", outcome.spoilt_streams.total()))
    lines += [_line(f"  {spoiling}", count) for spoiling, count in sorted(outcome.spoilt_streams.items())]
    lines += [str(violation) for violation in outcome.violations[:SHOWN_VIOLATIONS]]
    lines += [_line(name, outcome.count(kind)) for kind, name in VIOLATIONS.items()]
    return "\n".join(lines)


def _line(name: str, value: int | str) -> str:
    return f"{name:<46} {value:>8}"


def _print(line: str) -> None:
    print(line, flush=True)


def _ignore(line: str) -> None:
    del line


if __name__ == "__main__":
    sys.exit(main())
