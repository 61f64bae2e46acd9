"""A whole house: a scripted provider, the process that reads its streams, Redis, and the server with the readers."""

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, ClassVar, Self

from bench import cpu
from bench.audience import Target
from bench.child import BenchError, LineProcess
from bench.transcripts import Folding
from tests.support.processes import Child, RedisChild, free_port

_TIMEOUT_SECONDS = 30
_HELD_SECONDS = 30


class ScriptedProvider:
    """The process of `provider.py`. Its CPU time is nobody's cost."""

    def __init__(self, directory: Path) -> None:
        with cpu.pinned_to(cpu.other(2)):
            self._process = LineProcess([sys.executable, "-m", "bench.provider"], directory / "provider.log")
        self._port = self._process.receive()["port"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def asked(self) -> int:
        """Requests for a held stream since the start."""
        return self._process.request(do="held")["asked"]

    def wait_for(self, streams: int) -> None:
        """Return when so many streams are open. Raises BenchError if they are not in time."""
        deadline = time.monotonic() + _HELD_SECONDS
        while (held := self._process.request(do="held")["held"]) < streams:
            if time.monotonic() > deadline:
                raise BenchError(f"the provider was asked for {held} of {streams} answers")
            time.sleep(0.02)

    def stream(self, rate: float, seconds: float) -> None:
        """Begin to write into all streams; `streamed` waits for the end."""
        self._process.send(json.dumps({"do": "stream", "rate": rate, "seconds": seconds}))

    def streamed(self, seconds: float) -> dict[str, Any]:
        """Wait until the provider has written all: sent and cut. Raises BenchError after `seconds`."""
        return self._process.receive(seconds)


class House(ABC):
    """A contender with all of its processes. The worker's process reads the provider's streams."""

    name: ClassVar[str]
    folding: ClassVar[Folding] = "plain"
    post_path: ClassVar[str]
    # Whether the response to the POST is the stream itself. If not, it names the path to GET.
    streams_from_post: ClassVar[bool] = False
    # Added to that path, it asks the server to end the stream with the answer.
    until_end: ClassVar[str] = ""

    def __init__(self) -> None:
        self.port = 0
        self._redis: RedisChild | None = None
        self.workers: list[Child] = []
        self.servers: list[Child] = []

    @contextmanager
    def running(self, directory: Path, provider_url: str, turns: int) -> Generator[None]:
        """Run in `directory`, with room for so many turns. Raises AssertionError if a process does not start."""
        try:
            with cpu.pinned_to(cpu.other(1)):
                self._redis = RedisChild(directory / "redis")
                self._redis.start()
            self.port = free_port()
            self.start(directory, provider_url, turns)
            yield
        finally:
            for child in (*self.workers, *self.servers, *((self._redis,) if self._redis else ())):
                if child.is_running:
                    child.stop()
            self.workers, self.servers, self._redis = [], [], None

    @abstractmethod
    def start(self, directory: Path, provider_url: str, turns: int) -> None:
        """Start `workers`, and `servers` where they are other processes, and return when they serve on `port`."""

    @property
    def redis_url(self) -> str:
        assert self._redis is not None  # noqa: S101 - started
        return self._redis.url

    @property
    def pids(self) -> dict[str, list[int]]:
        """The processes by their part."""
        parts = {"worker": self.workers, "server": self.servers, "redis": [self._redis] if self._redis else []}
        return {part: [child.process.pid for child in children] for part, children in parts.items()}

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    def body(self, question: str) -> dict[str, str]:
        """What is posted."""
        return {"text": question}

    def targets(self, questions: Sequence[str]) -> list[Target]:
        """Ask, and return a reader for each answer."""
        if self.streams_from_post:
            return [
                Target(question, self.port, self._request("POST", self.post_path, question)) for question in questions
            ]
        with closing(self.connection()) as connection:
            paths: list[str] = [json.load(self.post(connection, question))["events_url"] for question in questions]
        return [Target(path, self.port, self._request("GET", path)) for path in paths]

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_SECONDS)

    def post(self, connection: HTTPConnection, question: str) -> HTTPResponse:
        headers = {**self.headers, "Content-Type": "application/json"}
        connection.request("POST", self.post_path, json.dumps(self.body(question)), headers)
        return connection.getresponse()

    def _request(self, method: str, path: str, question: str | None = None) -> str:
        head = {"Host": f"127.0.0.1:{self.port}", "Accept": "text/event-stream", **self.headers}
        body = ""
        if question is not None:
            body = json.dumps(self.body(question))
            head |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return "\r\n".join(
            [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", body]
        )
