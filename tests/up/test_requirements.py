"""Tests whose program is missing are deselected and named, not skipped."""

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


# Hides this machine's programs in each process.
HIDING = """
from tests.support import requirements
requirements.program = lambda *names: None
"""
IN_PROCESSES = ("-p", "xdist", "-n", "2")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text(HIDING)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -p tests.support.requirements\n")
    return tmp_path


def outcome(suite: Path, *arguments: str, **env: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", str(suite), "-c", str(suite / "pytest.ini"), *arguments]
    env = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "MIDSENTENCE_TEST_REQUIRE_ALL": "", **env}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=suite, env=os.environ | env)
    return done.returncode, done.stdout + done.stderr


each_way = pytest.mark.parametrize("way", [(), IN_PROCESSES], ids=["one process", "two processes"])


@each_way
def test_a_missing_program_is_named_before_the_last_line(suite: Path, way: tuple[str, ...]) -> None:
    code, output = outcome(suite, *way)
    assert code == 0
    named, closing = output.splitlines()[-2:]
    assert named == "left out for want of nginx: 3 tests"
    assert "1 passed" in closing
    assert way or "3 deselected" in closing


def test_a_deselected_test_is_not_counted(suite: Path) -> None:
    code, output = outcome(suite, "-k", "three", MIDSENTENCE_TEST_REQUIRE_ALL="1")
    assert code == 0
    assert "left out" not in output


@each_way
def test_a_missing_program_fails_a_run_that_requires_all(suite: Path, way: tuple[str, ...]) -> None:
    code, output = outcome(suite, *way, MIDSENTENCE_TEST_REQUIRE_ALL="1")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "these programs are missing: nginx" in output
