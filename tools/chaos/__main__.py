"""`scripts/chaos`: kill everything, over and over, and compare every text that was read with what the model wrote."""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tools.chaos.run import Options, Outcome, run

WRONGS = {"mismatch": "mismatches", "duplicate": "duplicates", "hole": "holes", "stuck": "stuck turns"}
SHOWN_FINDINGS = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long faults happen")
    parser.add_argument("--seed", type=int, default=None, help="chooses everything that chance decides")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=16, help="how many conversations are held at once")
    parser.add_argument("--takeover", choices=("auto", "restart", "continue", "reattach"), default="auto")
    parser.add_argument("--api", choices=("chat", "responses"), default="chat")
    parser.add_argument("--tails", action="store_true", help="let Valkey also lose the last that it accepted")
    parser.add_argument("--keep", type=Path, help="a directory for the logs of all processes, which stays")
    parser.add_argument("--quiet", action="store_true", help="do not tell each fault")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    options = Options(
        seed, given.seconds, given.servers, given.workers, given.sessions, given.takeover, given.api, given.tails
    )
    print(f"seed {seed}: {options}", flush=True)
    # Else a SIGTERM would leave all processes of the run behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="midsentence-chaos-") as temporary:
        directory = given.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        outcome = run(options, directory, _say if not given.quiet else _nothing)
    print(report(outcome, time.monotonic() - begun), flush=True)
    return 1 if outcome.findings else 0


def report(outcome: Outcome, seconds: float) -> str:
    lines = [f"{seconds:.0f} s"]
    lines += [f"{name:<42} {value:>8}" for name, value in outcome.figures.items()]
    kills = sum(count for (_, deed), count in outcome.deeds.items() if "pause" not in deed)
    lines.append(f"{'kills':<42} {kills:>8}")
    lines += [f"  {kind} {deed:<38} {count:>8}" for (kind, deed), count in sorted(outcome.deeds.items())]
    lines += [str(finding) for finding in outcome.findings[:SHOWN_FINDINGS]]
    lines += [f"{name:<42} {outcome.count(wrong):>8}" for wrong, name in WRONGS.items()]
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, flush=True)


def _nothing(line: str) -> None:
    del line


if __name__ == "__main__":
    sys.exit(main())
