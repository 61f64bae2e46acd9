"""A process of the harness that answers each JSON line with one."""

import json
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.processes import clean_environment


class BenchError(Exception):
    """The run cannot continue, for the reason in the message."""


class LineProcess:
    def __init__(self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=clean_environment(environment),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe, above
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def receive(self, seconds: float = 60) -> dict[str, Any]:
        """The next answer. Raises BenchError if none comes in time or the process has ended."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe, above
        # There is one answer at a time, so Python's buffer, which select does not check, never holds the next one.
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise BenchError(
                f"{self._process.args!r} did not answer within {seconds:g} s: {self._log.read_text()[-2000:]}"
            )
        return json.loads(line)

    def request(self, seconds: float = 60, /, **command: object) -> dict[str, Any]:
        self.send(json.dumps(command))
        return self.receive(seconds)

    def stop(self) -> None:
        """Close its stdin, at which the process exits."""
        assert self._process.stdin is not None  # noqa: S101 - pipes, above
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
