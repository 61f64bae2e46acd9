"""The server or the worker in several processes: the children that a supervisor starts."""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from midsentence.launcher.child_process import Child
from midsentence.settings import Settings

# A process needs this much time beyond its drain, and beyond a reply of Redis, to close; one that takes longer hangs.
_STOP_MARGIN_SECONDS = 3.0


@dataclass(frozen=True)
class Program:
    """A command of this project in `count` processes, each a peer of the others.

    `kind` is `server` or `worker`. The processes accept connections at `sockets`.
    """

    kind: str
    count: int
    sockets: Sequence[socket.socket] = ()
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def children(self, ready_descriptor: int | None = None) -> tuple[Child, ...]:
        return tuple(self._child(number, ready_descriptor) for number in range(self.count))

    def _child(self, number: int, ready_descriptor: int | None) -> Child:
        name = self.kind if self.count == 1 else f"{self.kind} {number + 1}"
        options = ["--name", name]
        inherits: list[int] = []
        if self.sockets:
            descriptors = [listener.fileno() for listener in self.sockets]
            first = number % len(descriptors)
            inherits += descriptors[first:] + descriptors[:first]
            options += ["--listen-fds", ",".join(map(str, inherits))]
        if ready_descriptor is not None:
            inherits.append(ready_descriptor)
            options += ["--ready-fd", str(ready_descriptor)]
        command = (*_command(f"midsentence-{self.kind}", f"midsentence_{self.kind}"), *options)
        called = f"The {name}" if self.count == 1 else name.capitalize()
        return Child(called, command, self.env, inherits=tuple(inherits))


def stop_seconds(settings: Settings) -> float:
    """The seconds that a server or worker may take from SIGTERM to its exit."""
    return settings.drain_seconds + settings.redis_timeout_seconds + _STOP_MARGIN_SECONDS


def _command(name: str, package: str) -> tuple[str, ...]:
    beside = Path(sys.executable).with_name(name)
    if os.access(beside, os.X_OK):
        return (str(beside),)
    return (sys.executable, "-c", f"from {package}.main import main; main()")
