import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from frontend.build import STAMP
from tests.up.running import ROOT

# The programs that the scripts use beside Python. A PATH with only these proves that they need no other.
TOOLS = ("sh", "cat", "cksum", "dirname", "find", "mkdir", "rm", "sort")


class Checkout:
    """A copy of the files that the scripts read, with a PATH that has only the programs of the test."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "a checkout"
        self.path = directory / "path"
        self.venv = self.root / ".venv"
        self.page = self.root / "server" / "midsentence_server" / "page"
        self.root.mkdir()
        self.path.mkdir()
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        shutil.copytree(ROOT / "frontend", self.root / "frontend", ignore=shutil.ignore_patterns("node_modules"))
        for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock"):
            shutil.copy(ROOT / name, self.root / name)
        for name in TOOLS:
            found = shutil.which(name)
            assert found
            (self.path / name).symlink_to(found)

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # pip has no index, and no configuration that names one.
        env = {"PATH": str(self.path), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        command = [str(self.root / "scripts" / script), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    def set_up(self) -> None:
        """Simulate an install: the stamps are those of the scripts, the programs are substitutes."""
        self.program(self.venv / "bin" / "python", f'exec "{sys.executable}" "$@"')
        self.program(self.venv / "bin" / "midsentence", 'echo "started with" "$@"')
        self.page.mkdir(parents=True)
        (self.page / STAMP).touch()
        marking = (
            'root=$1; . "$root/scripts/lib.sh"; mark venv "$(place)"; mark project "$(project_sources)"; '
            'mark requirements.lock "$(checksum requirements.lock)"'
        )
        subprocess.run(["sh", "-c", marking, "up", str(self.root)], check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize("script", ["up", "test", "check", "page", "topology", "chaos", "healing"])
def test_a_script_names_the_python_that_it_needs(checkout: Checkout, script: str) -> None:
    checkout.program(checkout.path / "python3", "exit 1")
    done = checkout.run(script)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{script}: Python 3.11 or newer is needed: install it from your system's packages or from python.org.\n"
    )


def test_a_script_names_a_python_without_venv(checkout: Checkout) -> None:
    checkout.program(checkout.path / "python3.12", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    done = checkout.run("up")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "up: python3.12 lacks the module venv or ensurepip: "
        "install it (on Debian and Ubuntu: apt install python3-venv).\n"
    )


def test_a_second_start_installs_nothing_and_passes_its_arguments(checkout: Checkout) -> None:
    checkout.set_up()
    done = checkout.run("up", "--data-dir", "a place")
    assert (done.returncode, done.stdout, done.stderr) == (0, "started with --data-dir a place\n", "")


@pytest.mark.parametrize("path", ["node_modules/new/index.js", "tests/new.test.ts", "__pycache__/build.pyc"])
def test_a_file_other_than_a_source_causes_no_install(checkout: Checkout, path: str) -> None:
    checkout.set_up()
    new = checkout.root / "frontend" / path
    new.parent.mkdir(parents=True, exist_ok=True)
    new.touch()
    done = checkout.run("up")
    assert (done.returncode, done.stdout, done.stderr) == (0, "started with\n", "")


@pytest.mark.parametrize(
    "changed",
    [
        "requirements.lock",
        "pyproject.toml",
        "frontend/build.py",
        "frontend/package-lock.json",
        "frontend/src/new.ts",
        "the page, built by hand",
    ],
)
def test_a_changed_source_is_installed_and_a_failure_is_reported(checkout: Checkout, changed: str) -> None:
    checkout.set_up()
    checkout.program(checkout.venv / "bin" / "python", f'[ "$1" = -m ] && exit 1; exec "{sys.executable}" "$@"')
    if changed.startswith("the page"):
        (checkout.page / STAMP).unlink()
    else:
        with (checkout.root / changed).open("a") as file:
            file.write("\n")
    for _ in range(2):  # what failed is tried again
        done = checkout.run("up")
        assert (done.returncode, done.stdout) == (2, "")
        step, sentence = done.stderr.splitlines()
        assert step.startswith("Installing ")
        assert "is this machine offline?" in sentence


def test_a_moved_checkout_is_set_up_again(checkout: Checkout) -> None:
    checkout.set_up()
    checkout.root = checkout.root.rename(checkout.root.with_name("elsewhere"))
    checkout.program(checkout.path / "python3", 'case "$2" in venv) exit 1 ;; esac')
    done = checkout.run("up")
    assert done.returncode == 2
    assert done.stderr.startswith("Making .venv")


def test_a_first_start_without_a_network_is_reported_and_leaves_no_stamp(checkout: Checkout) -> None:
    checkout.program(checkout.path / "python3", f'exec "{sys.executable}" "$@"')
    done = checkout.run("up")
    assert (done.returncode, done.stdout) == (2, "")
    *steps, sentence = done.stderr.splitlines()
    assert all(step.endswith("…") for step in steps)
    assert sentence == (
        "up: Installing the packages of requirements.lock failed (is this machine offline?); "
        f"{checkout.root}/.venv/install.log says why."
    )
    assert [path.name for path in checkout.venv.glob(".made-*")] == [".made-venv"]


def test_the_locks_hold_no_address_and_agree() -> None:
    # The lock's other addresses are donation pages.
    assert '"resolved"' not in (ROOT / "frontend" / "package-lock.json").read_text()
    runtime, development = (
        {line for line in (ROOT / name).read_text().splitlines() if line[:1].isalnum()}
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert runtime <= development
    assert not [line for line in runtime | development if "://" in line]
