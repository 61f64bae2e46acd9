"""The scenarios' interface to the readers, which run in a process of their own (`readers.py`)."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench import cpu
from bench.child import LineProcess
from bench.transcripts import Folding


class Target(NamedTuple):
    """One reader: the session, the server's port, and the whole request."""

    session: str
    port: int
    request: str


class Audience:
    def __init__(self, directory: Path, folding: Folding) -> None:
        self._directory = directory
        self._folding: Folding = folding
        with cpu.pinned_to(cpu.REST):
            self._readers = LineProcess([sys.executable, "-m", "bench.readers"], directory / "readers.log")

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
        """Connect all and wait for the first bytes of each; `keep` their text for `cut`, `reconnect` and `texts`.

        Returns opened, refused (not opened in time), seconds, and p50_ms and p99_ms from connect to first byte.
        """
        path = self._directory / "targets.json"
        path.write_text(json.dumps(targets))
        return self._readers.request(
            limit + 30, do="open", path=str(path), folding=self._folding, keep=keep, at_once=at_once, limit=limit
        )

    def begin(self) -> None:
        self._readers.request(do="begin")

    def end(self) -> dict[str, Any]:
        """Counts since `begin`: delivered, p50_ms, p99_ms, p999_ms, reads_per_token."""
        return self._readers.request(do="end")

    def finish(self, tokens: dict[str, int], limit: float = 5) -> dict[str, Any]:
        """Wait for each session's tokens. Counts since the start: missing, duplicates, lost (connections), last_ns.

        `behind` is the part of the missing that had not come at the limit; the others were left out.
        """
        return self._readers.request(limit + 30, do="finish", tokens=tokens, limit=limit)

    def cut(self, staying: int) -> int:
        return self._readers.request(do="cut", staying=staying)["cut"]

    def reconnect(self, limit: float = 30) -> dict[str, Any]:
        return self._readers.request(2 * limit + 30, do="reconnect", limit=limit)

    def texts(self, tokens: int) -> dict[str, Any]:
        return self._readers.request(do="texts", tokens=tokens)

    def held(self) -> int:
        return self._readers.request(do="held")["held"]

    def close(self) -> None:
        self._readers.request(do="close")
