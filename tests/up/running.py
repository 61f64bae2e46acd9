"""The supervisor as a process, observed from outside."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def is_alive(pid: int) -> bool:
    """Whether the process runs. A zombie does not count: a container without an init may never reap it."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in listed.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def wait_until_replaced(pid: int, killed: Sequence[int]) -> None:
    """Wait until a supervisor runs other children in place of the killed ones, which stay listed until it notices."""

    def are_replaced() -> bool:
        children = children_of(pid)
        return len(children) == len(killed) and set(children).isdisjoint(killed)

    wait_until(are_replaced, description="other processes run in place of the killed ones")


class Running:
    """A program whose output goes to files, since a pipe that is not read would block it."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process = process
        self._directory = directory

    @property
    def out(self) -> str:
        return (self._directory / "out").read_text()

    @property
    def err(self) -> str:
        return (self._directory / "err").read_text()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self, timeout: float = 30) -> int:
        return self.process.wait(timeout)

    def wait_for(self, text: str, timeout: float = 30) -> None:
        wait_until(
            lambda: text in self.out + self.err or self.process.poll() is not None, description=text, timeout=timeout
        )
        assert text in self.out + self.err, f"exit code {self.process.poll()}: {self.out}{self.err}"


@contextmanager
def running(command: Sequence[str], directory: Path, env: Mapping[str, str] | None = None) -> Generator[Running]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=ROOT)
    try:
        yield Running(process, directory)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
        process.kill()
        process.wait()


class ShellChildren:
    """Shell scripts instead of Valkey, server and worker. Each appends its process id to a file at every start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stages: list[tuple[float, list[tuple[str, str]]]] = []

    def stage(self, stop_seconds: float = 10, **scripts: str) -> None:
        self._stages.append((stop_seconds, list(scripts.items())))

    def starts(self, name: str) -> list[int]:
        path = self.directory / f"{name}.starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    @property
    def pids(self) -> list[int]:
        return [pid for _, scripts in self._stages for name, _ in scripts for pid in self.starts(name)]

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.up.shell_children", str(self.directory), json.dumps(self._stages)]
