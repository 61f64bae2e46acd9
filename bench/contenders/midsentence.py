"""midsentence-server on the bundled Valkey."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from itsdangerous import Signer

from bench.contender import Contender, Load, python
from bench.producers.midsentence import OWNER
from bench.transcripts import Folding
from midsentence_server.owner_cookie import COOKIE
from tests.support.processes import ServerChild


class Midsentence(Contender):
    name = "midsentence"
    folding: ClassVar[Folding] = "native"
    # It protects nothing: the cookie that it signs is valid for one measurement.
    secret: ClassVar[str] = "nothing-but-a-benchmark"  # noqa: S105

    def start_servers(self, directory: Path, count: int) -> None:
        servers = [ServerChild(directory, self.environment) for _ in range(count)]
        self.servers = list(servers)
        self.ports = [server.port for server in servers]
        for server in servers:
            server.spawn()
        for server in servers:
            server.wait()

    @property
    def environment(self) -> Mapping[str, str]:
        # A producer renews no lease, so none may expire during a measurement.
        return {
            "MIDSENTENCE_REDIS_URL": self.url,
            "MIDSENTENCE_SECRET": self.secret,
            "MIDSENTENCE_LEASE_SECONDS": "3600",
        }

    def path(self, session: str) -> str:
        return f"/sessions/{session}/events"

    def headers(self) -> Sequence[str]:
        return [f"Cookie: {COOKIE}={Signer(self.secret, salt='midsentence.owner').sign(OWNER).decode()}"]

    def producer_command(self) -> Sequence[str]:
        return python("bench.producers.midsentence")

    def producer_environment(self, load: Load) -> Mapping[str, str]:
        return {**self.environment, "MIDSENTENCE_FLUSH_MS": str(load.flush_ms)}
