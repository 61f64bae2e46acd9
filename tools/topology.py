"""`scripts/topology`: the scaled deployment of docs/operations.md, as processes on one machine.

Valkey with an append-only file, servers, workers, and nginx with the repository's own configuration.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from midsentence.address import Address, free_address
from midsentence.errors import BadSettingsError, CannotStartError
from midsentence.launcher import valkey
from midsentence.launcher.child_process import Child, write_line
from midsentence.launcher.supervisor import Stage, supervise
from midsentence.settings import Settings
from tests.support import nginx
from tests.support.processes import command, free_port
from tests.support.requirements import program

ROOT = Path(__file__).parents[1]
REFUSED = 2
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C killed
MAX_PROCESSES = 64
HOST = "127.0.0.1"
STOP_MARGIN_SECONDS = 3.0
VALKEY_STOP_SECONDS = 10.0
# As in scripts/up: the defaults for a person at a terminal, not for a deployed server.
DEFAULTS = {"MIDSENTENCE_PUSH": "1", "MIDSENTENCE_DRAIN_SECONDS": "3"}


class Parser(argparse.ArgumentParser):
    """argparse prints its usage first; one sentence is easier to read, and to test."""

    def error(self, message: str) -> NoReturn:
        refuse(f"{message}; `scripts/topology --help` says what it takes.")


@dataclass(frozen=True)
class Process:
    """One process of the topology; `where` is its address."""

    name: str
    command: tuple[str, ...]
    where: str = ""
    inherits: tuple[int, ...] = ()


class Topology:
    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self._processes: list[Process] = []

    def child(self, process: Process) -> Child:
        self._processes.append(process)
        # The shell writes its PID and becomes the process, so the file stays right when the process is restarted.
        with_pid_file = ("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', str(self._pid_file(process)), *process.command)
        log = self._directory / f"{process.name}.log"
        return Child(process.name, with_pid_file, self._environment, log, process.inherits)

    def log(self, name: str) -> str:
        path = self._directory / f"{name}.log"
        return path.read_text() if path.exists() else ""

    @property
    def table(self) -> str:
        rows = [
            (process.name, self._pid_file(process).read_text().strip(), process.where) for process in self._processes
        ]
        return "\n".join(f"{name:<10} {pid:>8}  {where}".rstrip() for name, pid, where in rows)

    def _pid_file(self, process: Process) -> Path:
        return self._directory / f"{process.name}.pid"


def main() -> int:
    options = parse_options()
    if program("nginx") is None:
        refuse("nginx is missing: install it (on Debian and Ubuntu: apt install nginx-light).")
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        address = free_address(HOST, options.port)
        with directory(options.data_dir) as path:
            return run(path, address, options)
    except (BadSettingsError, CannotStartError) as error:
        refuse(str(error))


def parse_options() -> argparse.Namespace:
    parser = Parser(prog="scripts/topology", description=__doc__, allow_abbrev=False)
    parser.add_argument("--servers", type=count, default=2, help="how many servers (default 2)")
    parser.add_argument("--workers", type=count, default=2, help="how many workers (default 2)")
    parser.add_argument("--port", type=port, default=8080, help="where nginx listens (default 8080)")
    parser.add_argument(
        "--upstream", choices=("scripted",), help="answer with the tests' scripted model instead of the configured one"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="keep data and logs here (default: a temporary directory, removed at the end)"
    )
    return parser.parse_args()


def count(text: str) -> int:
    return whole_number(text, MAX_PROCESSES)


def port(text: str) -> int:
    return whole_number(text, 65535)


def whole_number(text: str, highest: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {highest}")
    return int(text)


@contextmanager
def directory(named: Path | None) -> Generator[Path]:
    """The directory of data and logs. A temporary one stays after a failure, since its logs explain it."""
    path = Path(tempfile.mkdtemp(prefix="midsentence-topology-")) if named is None else named.absolute()
    yield path
    if named is None:
        shutil.rmtree(path, ignore_errors=True)


def run(path: Path, address: Address, options: argparse.Namespace) -> int:
    with valkey.locked(path) as lock, valkey.socket_path(path) as socket:
        # PYTHONPATH is for the scripted model, which runs as a module of this checkout.
        environment = {**os.environ, "MIDSENTENCE_REDIS_URL": valkey.url(socket), "PYTHONPATH": str(ROOT)}
        model_port = free_port() if options.upstream else 0
        if model_port:
            environment |= {"OPENAI_BASE_URL": f"http://{HOST}:{model_port}/v1", "MIDSENTENCE_MODEL": "scripted"}
        os.environ.update(environment)
        settings = Settings.load()
        topology = Topology(path, environment)
        store = topology.child(Process("valkey", valkey.child(path, socket, lock).command, str(socket), (lock,)))
        server_ports = [free_port() for _ in range(options.servers)]
        children = [
            topology.child(
                Process(
                    f"server{number}", tuple(command("midsentence-server", "--port", str(at))), f"http://{HOST}:{at}"
                )
            )
            for number, at in enumerate(server_ports, start=1)
        ]
        workers = [f"worker{number}" for number in range(1, options.workers + 1)]
        children += [topology.child(Process(name, tuple(command("midsentence-worker")))) for name in workers]
        if model_port:
            scripted = (sys.executable, "-P", "-m", "tests.support.upstream", "--port", str(model_port))
            children.append(topology.child(Process("upstream", scripted, f"http://{HOST}:{model_port}/v1")))
        nginx.configure(
            path,
            f"{HOST}:{options.port}",
            [(HOST, at) for at in server_ports],
            max_body_bytes=settings.max_body_bytes,
        )
        front = topology.child(Process("nginx", tuple(nginx.command(path)), address.url))
        stages = [
            Stage((store,), VALKEY_STOP_SECONDS),
            Stage(tuple(children), settings.drain_seconds + STOP_MARGIN_SECONDS),
            Stage((front,), settings.drain_seconds + STOP_MARGIN_SECONDS),
        ]
        everywhere = [address, *(Address(HOST, HOST, at) for at in server_ports)]

        async def ready() -> bool:
            return all([await it.answers("/readyz") for it in everywhere]) and all(
                "redis_answers" in topology.log(name) for name in workers
            )

        async def announce() -> None:
            model = settings.model_list.default.name
            write_line(1, f"{address.url}\n{model} answers.\n\n{topology.table}\n\nLogs: {path}")

        return 0 if asyncio.run(supervise(stages, ready, announce)) else INTERRUPTED


def refuse(sentence: str) -> NoReturn:
    write_line(2, f"topology: {sentence}")
    sys.exit(REFUSED)


if __name__ == "__main__":
    sys.exit(main())
