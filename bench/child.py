"""A process of the harness that is told one JSON line at a time and answers each with one."""

import json
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.processes import clean_environment


class BenchError(Exception):
    """The run cannot go on; the sentence says why."""


class Talking:
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

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe, above
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, seconds: float = 60) -> dict[str, Any]:
        """The next answer. Raises BenchError where none comes in time, or the process ended."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe, above
        # One answer at a time, so nothing of the next can wait in Python's buffer, where select would not see it.
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise BenchError(f"{self._process.args!r} said nothing for {seconds:g} s: {self._log.read_text()[-2000:]}")
        return json.loads(line)

    def ask(self, seconds: float = 60, /, **command: object) -> dict[str, Any]:
        self.tell(json.dumps(command))
        return self.hear(seconds)

    def stop(self) -> None:
        """Close its stdin, which is how it is told that it is over."""
        assert self._process.stdin is not None  # noqa: S101 - pipes, above
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
