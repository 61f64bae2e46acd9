"""Inject the scheduled faults into the processes and the providers of a chaos run."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.http_client import Address
from tests.support.processes import Child, RedisChild, ServerChild, Stack, WorkerChild, clean_environment, listens
from tests.support.upstream import Upstream
from tools.chaos.outages import Outages
from tools.chaos.schedule import Action, Fault, Victim

# The longest that a process may take to stop, whose drain is 1 s, and to start.
STOP_SECONDS = 12.0
START_SECONDS = 20.0
POLL_SECONDS = 0.05
# At most what Valkey writes in a second.
TAIL_BYTES = 60_000
# The schedule's pauses are longer or shorter than this lease.
LEASE_SECONDS = 2
SETTINGS = {
    "MIDSENTENCE_LEASE_SECONDS": str(LEASE_SECONDS),
    "MIDSENTENCE_DRAIN_SECONDS": "1",
    "MIDSENTENCE_PING_SECONDS": "1",
    # A turn that is hit by every other fault must still be answered.
    "MIDSENTENCE_MAX_ATTEMPTS": "50",
    # A conversation's history is not tested here, and would be most of the model's work.
    "MIDSENTENCE_CONTEXT_TOKENS": "1000",
    # A stream that stalls is given up soon, and a broken answer is taken up again soon.
    "MIDSENTENCE_MODEL_TIMEOUT_SECONDS": "3",
    "MIDSENTENCE_HEAL_PAUSE_SECONDS": "5",
}


def stack(directory: Path, upstream: Upstream, *, servers: int, workers: int, settings: Mapping[str, str]) -> Stack:
    return Stack(
        directory,
        upstream,
        servers=servers,
        workers=workers,
        settings={**SETTINGS, **(compiled() if sys.dont_write_bytecode else {}), **settings},
    )


def compiled() -> dict[str, str]:
    """An environment in which Python caches compiled code although it was told not to.

    Processes are started hundreds of times, and compiling their imports would be most of each start.
    """
    environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(sys.prefix) / "compiled")}
    models = "midsentence_worker.models"
    imports = f"import midsentence_server.process, {models}.chat_completions, {models}.responses"
    # Once, before all processes would do it at the same time.
    subprocess.run([sys.executable, "-c", imports], env=clean_environment(environment), check=True)
    return environment


class FaultInjector:
    def __init__(self, stack: Stack, outages: Outages, log: Callable[[str], None]) -> None:
        self.counts: Counter[tuple[Victim, Action]] = Counter()
        self.skipped = 0
        self.slow_stops = 0
        # When Valkey was killed: its last writes may not be on disk.
        self.valkey_deaths: list[float] = []
        self._log = log
        self._outages = outages
        self._children: dict[Victim, Sequence[Child]] = {
            "server": stack.servers,
            "worker": stack.workers,
            "valkey": [stack.redis],
        }
        self._affected: set[Child] = set()

    async def inject(self, faults: Sequence[Fault]) -> None:
        """Inject all faults of the schedule; return when every process runs again."""
        begun = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0, begun + fault.at - asyncio.get_running_loop().time()))
                if fault.victim == "provider":
                    if self._outages.is_possible:
                        self._note(fault, fault.number)
                        group.create_task(self._outages.inject(fault))
                        continue
                elif (target := self._target(fault)) is not None:
                    self._affected.add(target)
                    group.create_task(self._inject(fault, target))
                    continue
                self.skipped += 1

    def _target(self, fault: Fault) -> Child | None:
        """The process of the fault, or the next of its kind that is not down already."""
        children = self._children[fault.victim]
        for child in (*children[fault.number :], *children[: fault.number]):
            if child not in self._affected:
                return child
        return None

    async def _inject(self, fault: Fault, child: Child) -> None:
        self._note(fault, self._children[fault.victim].index(child))
        try:
            match fault.action:
                case "kill -9" | "kill -9, tail lost":
                    if fault.victim == "valkey":
                        self.valkey_deaths.append(time.monotonic())
                    child.process.kill()
                    await _until(lambda: not child.is_running)
                    if isinstance(child, RedisChild) and "tail" in fault.action:
                        lose_tail(child.directory, TAIL_BYTES)
                    await self._restart(fault, child)
                case "SIGTERM":
                    child.process.terminate()
                    if not await _until(lambda: not child.is_running, STOP_SECONDS):
                        self.slow_stops += 1
                        self._log(f"         {fault.victim} did not stop within {STOP_SECONDS:g} s and is killed")
                        child.process.kill()
                        await _until(lambda: not child.is_running)
                    await self._restart(fault, child)
                case "pause" | "long pause":
                    child.process.send_signal(signal.SIGSTOP)
                    await asyncio.sleep(fault.seconds)
                    child.process.send_signal(signal.SIGCONT)
                case _:
                    raise AssertionError(fault)
        finally:
            self._affected.discard(child)

    def _note(self, fault: Fault, number: int) -> None:
        self._log(f"{fault.at:6.1f} s  {fault.victim} {number}: {fault.action}, {fault.seconds:.1f} s")
        self.counts[fault.victim, fault.action] += 1

    async def _restart(self, fault: Fault, child: Child) -> None:
        await asyncio.sleep(fault.seconds)
        child.spawn()
        await _until(lambda: _is_up(child), START_SECONDS)
        assert child.is_running, child.recent


def lose_tail(directory: Path, size: int) -> None:
    """Cut the newest append-only file; Valkey drops the command that is cut in two (aof-load-truncated)."""
    newest = max((directory / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    os.truncate(newest, max(0, newest.stat().st_size - size))


def addresses(stack: Stack) -> list[Address]:
    return [Address("127.0.0.1", server.port) for server in stack.servers]


def _is_up(child: Child) -> bool:
    """Whether a fault would hit a working process; before that it would only hit imports."""
    if not child.is_running:
        return True
    match child:
        case WorkerChild():
            return '"working"' in child.recent
        case ServerChild() | RedisChild():
            return listens(child.port)
        case _:
            return True


async def _until(condition: Callable[[], bool], seconds: float = START_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True
