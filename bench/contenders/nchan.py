"""Nchan: a pub/sub server in C, as a module of nginx."""

import os
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import ClassVar

from bench.contender import Contender, python
from bench.transcripts import Folding
from tests.support.processes import Child, free_port, listens
from tests.support.waiting import wait_until

_NGINX = Path("/usr/sbin/nginx")
_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_TEMPLATE = Path(__file__).parents[1] / "peers" / "nchan.conf.template"


class Nchan(Contender):
    name = "nchan"
    folding: ClassVar[Folding] = "plain"
    uses_redis = False

    def unavailable(self) -> str | None:
        if _NGINX.exists() and _MODULE.exists():
            return None
        return "nchan needs nginx with its module: apt-get install nginx libnginx-mod-nchan."

    def start_servers(self, directory: Path, count: int) -> None:
        assert count == 1, "its processes share one port and cannot be measured separately"  # noqa: S101
        port = free_port()
        configuration = Template(_TEMPLATE.read_text()).substitute(PORT=port, DIRECTORY=directory)
        (directory / "nchan.conf").write_text(configuration)
        argv = [str(_NGINX), "-e", "stderr", "-p", str(directory), "-c", "nchan.conf"]
        if os.geteuid() == 0:
            # nginx started by root runs its workers as `nobody`, which has no access to the temporary directory.
            argv += ["-g", "user root root;"]
        server = Child(argv, directory / "nginx.log")
        server.spawn()
        self.servers = [server]
        self.ports = [port]
        wait_until(lambda: listens(port), description="nginx listens")
        wait_until(lambda: self._workers, description="nginx has its worker")

    @property
    def server_pids(self) -> list[int]:
        # The master process only waits; the worker does the work.
        return [*super().server_pids, *self._workers]

    @property
    def _workers(self) -> list[int]:
        master = self.servers[0].process.pid
        return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def path(self, session: str) -> str:
        return f"/sub/{session}"

    def producer_command(self) -> Sequence[str]:
        return python("bench.producers.nchan")
