"""The black-box suite passes through nginx and whichever server it picks, as it does against one server alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import clean_environment
from tests.topology.running import ROOT, topology

pytestmark = pytest.mark.needs_nginx

FILES = ("asking", "cursors", "idempotency", "queueing", "stopping")


@pytest.mark.timeout(150)
def test_the_protocol_holds_behind_nginx(tmp_path: Path) -> None:
    """Sections 4, 5 and 8; the rest is of what nginx has no part in, or takes the 15 s of a ping to be seen."""
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    suite += [f"tests/protocol/test_{name}.py" for name in FILES]
    with topology(tmp_path, "--upstream", "scripted") as running:
        suite += ["--base-url", running.base_url]
        ran = subprocess.run(suite, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
