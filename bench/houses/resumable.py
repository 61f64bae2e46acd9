"""The AI SDK's `streamText` and resumable-stream, in one process of Node."""

import secrets
from pathlib import Path
from typing import ClassVar

from bench import cpu
from bench.contenders.resumable import HERE, ResumableStream
from bench.house import House
from bench.transcripts import Folding
from tests.support.processes import Child, listens
from tests.support.waiting import wait_until


class ResumableHouse(House):
    name = ResumableStream.name
    folding: ClassVar[Folding] = "whole"
    post_path = "/chat"
    streams_from_post = True

    def body(self, question: str) -> dict[str, str]:
        # The client names its chat, and would find the stream again under this name.
        return {**super().body(question), "id": secrets.token_hex(16)}

    def start(self, directory: Path, provider_url: str, turns: int) -> None:
        del turns  # it has no limit
        argv = ["node", str(HERE / "chat.mjs"), str(self.port), self.redis_url, provider_url]
        worker = Child(argv, directory / "node.log", {"NODE_ENV": "production"})
        self.workers = [worker]
        with cpu.pinned_to(cpu.WORKER):
            worker.spawn()
        wait_until(lambda: listens(self.port), description="the Node application listens")
