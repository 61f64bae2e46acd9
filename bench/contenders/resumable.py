"""The npm package resumable-stream on Node's own HTTP server."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bench.contender import Contender
from bench.transcripts import Folding
from tests.support.processes import Child, free_port, listens
from tests.support.waiting import wait_until

HERE = Path(__file__).parents[1] / "peers" / "resumable"


class ResumableStream(Contender):
    name = "resumable-stream"
    folding: ClassVar[Folding] = "whole"

    def unavailable(self) -> str | None:
        if shutil.which("node") is None:
            return "resumable-stream needs Node 20 or newer: https://nodejs.org."
        if not (HERE / "node_modules").exists():
            return "resumable-stream is not installed: npm ci --prefix bench/peers/resumable."
        return None

    def start_servers(self, directory: Path, count: int) -> None:
        for number in range(count):
            port = free_port()
            server = Child(["node", str(HERE / "server.mjs"), str(port), self.url], directory / f"node-{number}.log")
            server.spawn()
            self.servers.append(server)
            self.ports.append(port)
        for port in self.ports:
            wait_until(lambda port=port: listens(port), description="the Node server listens")

    def path(self, session: str) -> str:
        return f"/stream/{session}"

    def producer_command(self) -> Sequence[str]:
        return ["node", str(HERE / "producer.mjs")]
