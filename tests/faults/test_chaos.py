"""A short chaos run: the same harness that `scripts/chaos` runs for as long as one likes.

That it can fail was seen with protections taken out, one at a time, and this very seed:

- fencing (epoch and worker compared in `write_events`): mismatches, a paused worker's text inside another's;
- the comparison of `before` with the top in a server's feed: holes;
- the `reset` of a takeover (with seed 2): mismatches, two attempts in one answer;
- the first entry of the log's tail, which is the cursor's own, given out again: duplicates, and readers who never end;
- leases that end: stuck turns.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Within these seconds it kills with -9 and with SIGTERM, and pauses beyond the lease and below it: ten kinds of faults.
SEED = 1279
SECONDS = 14
ZEROES = ("mismatches", "duplicates", "holes", "stuck turns")


@pytest.mark.timeout(150)
def test_whatever_is_killed_every_reader_ends_with_the_models_text() -> None:
    """8.11, 1.1, 1.2, 8.7: servers, workers and Valkey are killed, paused and restarted on a seeded schedule."""
    command = [sys.executable, "-m", "tools.chaos", "--seed", str(SEED), "--seconds", str(SECONDS), "--sessions", "10"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=140)
    print(ran.stdout, ran.stderr)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = dict(line.rsplit(maxsplit=1) for line in ran.stdout.splitlines() if line[-1:].isdecimal())
    assert {name: figures[name] for name in ZEROES} == dict.fromkeys(ZEROES, "0")
    assert int(figures["kills"]) >= 4, "hardly anything was killed"
    assert int(figures["turns"]) >= 20, "hardly anything was asked"
