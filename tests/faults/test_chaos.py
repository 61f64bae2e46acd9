"""A short run of the harness that `scripts/chaos` runs at any length."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# With this seed, 14 seconds hold SIGKILL, SIGTERM, pauses longer and shorter than the lease, and two outages.
SEED = 11279
SECONDS = 14
ZEROES = ("mismatches", "duplicates", "holes", "stuck turns", "errors though a model lived")


@pytest.mark.timeout(150)
def test_every_reader_gets_the_models_text_through_a_chaos_run() -> None:
    """8.11, 1.1, 1.2, 8.7: processes are killed and paused, providers go down, and streams are spoilt."""
    command = [sys.executable, "-m", "tools.chaos", "--seed", str(SEED), "--seconds", str(SECONDS), "--sessions", "10"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=140)
    print(ran.stdout, ran.stderr)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = dict(line.strip().rsplit(maxsplit=1) for line in ran.stdout.splitlines() if line[-1:].isdecimal())
    assert {name: figures[name] for name in ZEROES} == dict.fromkeys(ZEROES, "0")
    assert int(figures["kills"]) >= 4, "too few processes were killed"
    assert int(figures["provider refuses"]) == 1, "no provider was down"
    assert int(figures["streams that were spoilt"]) >= 5, "too few streams were spoilt"
    assert int(figures["turns"]) >= 20, "too few questions were asked"
