"""The readers, as the scenarios see them: a process of its own (`readers.py`)."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench import cpu
from bench.child import Talking
from bench.transcripts import Folding


class Target(NamedTuple):
    """One reader: whose answer, at which port, by which request (up to and with its empty line)."""

    session: str
    port: int
    request: str


class Audience:
    def __init__(self, directory: Path, folding: Folding) -> None:
        self._directory = directory
        self._folding: Folding = folding
        with cpu.on(cpu.REST):
            self._readers = Talking([sys.executable, "-m", "bench.readers"], directory / "readers.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.stop()

    @property
    def pid(self) -> int:
        return self._readers.pid

    def open(
        self, targets: Sequence[Target], *, keep: bool = False, at_once: int = 128, limit: float = 30
    ) -> dict[str, Any]:
        """Connect all and wait for everybody's first bytes; `keep` their text, for `cut`, `again` and `texts`.

        Returns opened, refused (not opened in time), seconds, and p50_ms and p99_ms from connect to first byte.
        """
        path = self._directory / "targets.json"
        path.write_text(json.dumps(targets))
        return self._readers.ask(
            limit + 30, do="open", path=str(path), folding=self._folding, keep=keep, at_once=at_once, limit=limit
        )

    def begin(self) -> None:
        self._readers.ask(do="begin")

    def end(self) -> dict[str, Any]:
        """What came since `begin`: delivered, p50_ms, p99_ms, p999_ms."""
        return self._readers.ask(do="end")

    def settle(self, tokens: dict[str, int], limit: float = 5) -> dict[str, Any]:
        """Wait for each session's tokens. Over the whole life: missing, duplicates, lost (connections), last_ns."""
        return self._readers.ask(limit + 30, do="settle", tokens=tokens, limit=limit)

    def cut(self, staying: int) -> int:
        return self._readers.ask(do="cut", staying=staying)["cut"]

    def again(self, limit: float = 30) -> dict[str, Any]:
        return self._readers.ask(2 * limit + 30, do="again", limit=limit)

    def texts(self, tokens: int) -> dict[str, Any]:
        return self._readers.ask(do="texts", tokens=tokens)

    def held(self) -> int:
        return self._readers.ask(do="held")["held"]

    def close(self) -> None:
        self._readers.ask(do="close")
