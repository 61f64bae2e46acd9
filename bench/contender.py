"""What is measured: a relay with its server processes, its producer, and its Redis if it uses one."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple

from bench import cpu
from bench.audience import Target
from bench.child import LineProcess
from bench.transcripts import Folding
from tests.support.processes import Child, RedisChild

# Close to the limit of open files: the default would stop a relay that holds a Redis connection for each reader.
_REDIS_OPTIONS = ("--maxclients", "19000")


class Load(NamedTuple):
    """Sessions, each with `rate` tokens a second. Only a producer that batches tokens uses `flush_ms`."""

    sessions: int
    rate: float
    seconds: float
    flush_ms: float = 0
    end: bool = False

    @property
    def tokens(self) -> int:
        """In each session."""
        return round(self.sessions * self.rate * self.seconds) // self.sessions

    @property
    def total(self) -> int:
        return round(self.sessions * self.rate * self.seconds)


class Contender(ABC):
    name: ClassVar[str]
    folding: ClassVar[Folding]
    uses_redis: ClassVar[bool] = True

    def __init__(self) -> None:
        self.redis: RedisChild | None = None
        self.servers: list[Child] = []
        self.ports: list[int] = []
        self._directory = Path()

    def unavailable(self) -> str | None:
        """A sentence that names what is not installed and how to install it, or None."""
        return None

    @contextmanager
    def running(self, directory: Path, servers: int = 1) -> Generator[None]:
        """Run in `directory`, which is created. Raises AssertionError if a process does not start."""
        directory.mkdir(parents=True)
        self._directory = directory
        try:
            self._start(directory, servers)
            yield
        finally:
            self._stop()

    def _start(self, directory: Path, servers: int) -> None:
        if self.uses_redis:
            with cpu.pinned_to(cpu.REST):
                self.redis = RedisChild(directory / "redis", None, *_REDIS_OPTIONS)
                self.redis.start()
        with cpu.pinned_to(cpu.SERVERS):
            self.start_servers(directory, servers)

    @abstractmethod
    def start_servers(self, directory: Path, count: int) -> None:
        """Start `servers` on `ports`, and return when they accept connections."""

    def _stop(self) -> None:
        for child in (*self.servers, *((self.redis,) if self.redis else ())):
            if child.is_running:
                child.stop()
        self.servers, self.ports, self.redis = [], [], None

    @property
    def server_pids(self) -> list[int]:
        return [server.process.pid for server in self.servers]

    @property
    def redis_pids(self) -> list[int]:
        return [self.redis.process.pid] if self.redis else []

    @property
    def url(self) -> str:
        """The address that a producer writes to."""
        assert self.redis is not None  # noqa: S101 - started
        return self.redis.url

    def target(self, session: str, number: int) -> Target:
        """The reader with this number; readers are spread over the servers."""
        port = self.ports[number % len(self.ports)]
        lines = [f"GET {self.path(session)} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: text/event-stream"]
        return Target(session, port, "\r\n".join([*lines, *self.headers(), "", ""]))

    @abstractmethod
    def path(self, session: str) -> str:
        """The path of a session's stream."""

    def headers(self) -> Sequence[str]:
        return ()

    def producer(self, load: Load) -> LineProcess:
        arguments = ["--sessions", str(load.sessions), "--rate", str(load.rate), "--seconds", str(load.seconds)]
        argv = [*self.producer_command(), *arguments, "--url", self.url, *(("--end",) if load.end else ())]
        with cpu.pinned_to(cpu.REST):
            return LineProcess(argv, self._directory / "producer.log", self.producer_environment(load))

    @abstractmethod
    def producer_command(self) -> Sequence[str]: ...

    def producer_environment(self, load: Load) -> Mapping[str, str]:  # noqa: ARG002 - a producer that batches overrides this
        return {}


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
