"""The obvious relay: Starlette, sse-starlette, and an XREAD for each reader."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bench.contender import Contender, python
from bench.transcripts import Folding
from tests.support.processes import Child, free_port, listens
from tests.support.waiting import wait_until


class Handwritten(Contender):
    name = "handwritten"
    folding: ClassVar[Folding] = "plain"

    def unavailable(self) -> str | None:
        if importlib.util.find_spec("sse_starlette") is None:
            return "handwritten needs sse-starlette: pip install sse-starlette."
        return None

    def start_servers(self, directory: Path, count: int) -> None:
        for number in range(count):
            port = free_port()
            argv = python("bench.peers.handwritten", str(port), self.url)
            server = Child(argv, directory / f"handwritten-{number}.log")
            server.spawn()
            self.servers.append(server)
            self.ports.append(port)
        for port in self.ports:
            wait_until(lambda port=port: listens(port), description="the hand-written server listens")

    def path(self, session: str) -> str:
        return f"/stream/{session}"

    def producer_command(self) -> Sequence[str]:
        return python("bench.producers.handwritten")
