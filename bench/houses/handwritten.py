"""The obvious application: one process of Starlette, in which each POST starts a task that reads the SDK's stream."""

from pathlib import Path

from bench import cpu
from bench.contender import python
from bench.contenders.handwritten import Handwritten
from bench.house import House
from tests.support.processes import Child, listens
from tests.support.waiting import wait_until


class HandwrittenHouse(House):
    name = Handwritten.name
    post_path = "/chat"

    def start(self, directory: Path, provider_url: str, turns: int) -> None:
        del turns  # it has no limit
        argv = python("bench.peers.handwritten", str(self.port), self.redis_url, provider_url)
        worker = Child(argv, directory / "handwritten.log")
        self.workers = [worker]
        with cpu.pinned_to(cpu.WORKER):
            worker.spawn()
        wait_until(lambda: listens(self.port), description="the hand-written application listens")
