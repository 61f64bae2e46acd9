"""midsentence-server and midsentence-worker, with default settings, on the bundled Valkey."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from bench import cpu
from bench.contenders.midsentence import Midsentence
from bench.house import House
from bench.transcripts import Folding
from tests.support.processes import ServerChild, WorkerChild


class MidsentenceHouse(House):
    name = Midsentence.name
    folding: ClassVar[Folding] = "native"
    post_path = "/sessions"
    until_end = "?until=end"

    def start(self, directory: Path, provider_url: str, turns: int) -> None:
        settings = {
            "MIDSENTENCE_REDIS_URL": self.redis_url,
            "MIDSENTENCE_SECRET": Midsentence.secret,
            "OPENAI_BASE_URL": provider_url,
            "OPENAI_API_KEY": "none",
        }
        # Its turns are still running when a measurement ends.
        worker = WorkerChild(
            directory,
            {**settings, "MIDSENTENCE_WORKER_CONCURRENCY": str(turns), "MIDSENTENCE_DRAIN_SECONDS": "0.1"},
        )
        server = ServerChild(directory, settings)
        self.port = server.port
        self.workers, self.servers = [worker], [server]
        with cpu.pinned_to(cpu.WORKER):
            worker.spawn()
        with cpu.pinned_to(cpu.other(0)):
            server.spawn()
        worker.wait()
        server.wait()

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(line.split(": ", 1) for line in Midsentence().headers())
