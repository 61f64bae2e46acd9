"""The protocol tests pass through nginx and two servers as they do against one server."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import clean_environment
from tests.topology.running import ROOT, topology

pytestmark = pytest.mark.needs_nginx

FILES = ("asking", "cursors", "idempotency", "queueing", "stopping")


@pytest.mark.timeout(150)
def test_protocol_tests_pass_behind_nginx(tmp_path: Path) -> None:
    """Sections 4, 5 and 8. nginx has no part in the others, or they wait 15 s for a ping."""
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    suite += [f"tests/protocol/test_{name}.py" for name in FILES]
    with topology(tmp_path, "--upstream", "scripted") as running:
        suite += ["--base-url", running.base_url]
        done = subprocess.run(suite, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
