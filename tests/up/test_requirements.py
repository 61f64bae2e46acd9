"""Tests whose program is missing are left out and named, never skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.up.running import ROOT

SUITE = """
import pytest

@pytest.mark.needs_nginx
def test_one(): pass

@pytest.mark.needs_nginx
@pytest.mark.parametrize("number", [1, 2])
def test_two(number): pass

def test_three(): pass
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -p tests.support.requirements\n")
    return tmp_path


def outcome(suite: Path, *arguments: str, **env: str) -> tuple[int, str]:
    # An empty PATH hides a program that this machine has; the folders of servers are hidden by the plug-in's own list.
    command = [sys.executable, "-c", HIDING, str(suite), "-c", str(suite / "pytest.ini"), *arguments]
    env = {
        "PATH": str(suite),
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "MIDSENTENCE_TEST_REQUIRE_ALL": "",
        **env,
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=suite, env=os.environ | env)
    return done.returncode, done.stdout + done.stderr


HIDING = """
import sys, pytest
from tests.support import requirements
requirements.program = lambda *names: None
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_what_is_missing_is_named_before_the_closing_line(suite: Path) -> None:
    code, output = outcome(suite)
    assert code == 0
    named, closing = output.splitlines()[-2:]
    assert named == "left out for want of nginx: 3 tests"
    assert "1 passed, 3 deselected" in closing


def test_what_was_not_chosen_is_not_missed(suite: Path) -> None:
    code, output = outcome(suite, "-k", "three", MIDSENTENCE_TEST_REQUIRE_ALL="1")
    assert code == 0
    assert "left out" not in output


def test_where_all_is_required_a_missing_program_fails_the_run(suite: Path) -> None:
    code, output = outcome(suite, MIDSENTENCE_TEST_REQUIRE_ALL="1")
    assert code != 0
    assert "these programs are missing: nginx" in output
