"""The topology as a user starts it: a process, observed through its output."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import clean_environment, free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
START_SECONDS = 45


class Row(NamedTuple):
    pid: int
    where: str


class Running:
    def __init__(self, process: subprocess.Popen[bytes], output: Path, port: int) -> None:
        self.process = process
        self.base_url = f"http://127.0.0.1:{port}"
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def table(self) -> dict[str, Row]:
        rows = re.findall(r"^(\w+) +(\d+) *(\S*)$", self.output, re.MULTILINE)
        return {name: Row(int(pid), where) for name, pid, where in rows}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "tools.topology", *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return clean_environment({"PYTHONPATH": str(ROOT), **(extra or {})})


def refused(*arguments: str) -> str:
    """The error of a topology that does not start."""
    done = subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done
    return done.stderr


@contextmanager
def topology(directory: Path, *arguments: str) -> Generator[Running]:
    port = free_port()
    output = directory / "output"
    with output.open("wb") as out:
        argv = command("--port", str(port), "--data-dir", str(directory / "data"), *arguments)
        process = subprocess.Popen(argv, env=environment(), stdout=out, stderr=out)
    running = Running(process, output, port)
    try:
        wait_until(lambda: _is_up(running), description="the topology is ready", timeout=START_SECONDS)
        yield running
    finally:
        if process.poll() is None:
            running.stop()


def _is_up(running: Running) -> bool:
    assert running.process.poll() is None, running.output
    return "Logs:" in running.output


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
