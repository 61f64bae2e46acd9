"""The processes of a chaos run, and what the schedule does to them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.processes import Child, RedisChild, ServerChild, Stack, WorkerChild, clean_environment, listens
from tests.support.streams import Address
from tests.support.upstream import Upstream
from tools.chaos.schedule import Deed, Fault, Kind

# A process that was told to stop, and one that was started, must be done with it in this time; the drain is 1 s.
STOP_SECONDS = 12.0
START_SECONDS = 20.0
POLL_SECONDS = 0.05
# A second's worth, or less.
TAIL_BYTES = 60_000
# Beyond the lease and below it are what pauses mean to be.
LEASE_SECONDS = 2
SETTINGS = {
    "MIDSENTENCE_LEASE_SECONDS": str(LEASE_SECONDS),
    "MIDSENTENCE_DRAIN_SECONDS": "1",
    "MIDSENTENCE_PING_SECONDS": "1",
    # A turn that meets every other fault of the run must still be answered.
    "MIDSENTENCE_MAX_ATTEMPTS": "50",
    # A conversation's past is no subject here, and would be most of what the model's side costs.
    "MIDSENTENCE_CONTEXT_TOKENS": "1000",
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
    """Where Python was told to keep no compiled code: an environment in which it keeps it after all.

    Processes are started hundreds of times, and compiling what they import would be most of what a start costs.
    """
    environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(sys.prefix) / "compiled")}
    models = "midsentence_worker.models"
    imports = f"import midsentence_server.main, {models}.chat_completions, {models}.responses"
    # Once before all of them do it at the same time.
    subprocess.run([sys.executable, "-c", imports], env=clean_environment(environment), check=True)
    return environment


class House:
    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None:
        self.done: Counter[tuple[Kind, Deed]] = Counter()
        self.skipped = 0
        self.slow_stops = 0
        # When Valkey died: what it took with it was never on disk.
        self.valkey_deaths: list[float] = []
        self.worker_faults: list[float] = []
        self._say = say
        self._children: dict[Kind, Sequence[Child]] = {
            "server": stack.servers,
            "worker": stack.workers,
            "valkey": [stack.redis],
        }
        self._busy: set[Child] = set()

    async def suffer(self, faults: Sequence[Fault]) -> None:
        """Do all that the schedule says; return when everything runs again."""
        begun = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as deeds:
            for fault in faults:
                await asyncio.sleep(max(0, begun + fault.at - asyncio.get_running_loop().time()))
                target = self._target(fault)
                if target is None:
                    self.skipped += 1
                    continue
                self._busy.add(target)
                deeds.create_task(self._do(fault, target))

    def _target(self, fault: Fault) -> Child | None:
        """Who it is meant for, or the next of its kind that is not down already."""
        children = self._children[fault.kind]
        for child in (*children[fault.number :], *children[: fault.number]):
            if child not in self._busy:
                return child
        return None

    async def _do(self, fault: Fault, child: Child) -> None:
        number = self._children[fault.kind].index(child)
        self._say(f"{fault.at:6.1f} s  {fault.kind} {number}: {fault.deed}, {fault.seconds:.1f} s")
        self.done[fault.kind, fault.deed] += 1
        if fault.kind == "worker":
            self.worker_faults.append(time.monotonic())
        try:
            match fault.deed:
                case "kill -9" | "kill -9, tail lost":
                    if fault.kind == "valkey":
                        self.valkey_deaths.append(time.monotonic())
                    child.process.kill()
                    await _until(lambda: not child.is_running)
                    if isinstance(child, RedisChild) and "tail" in fault.deed:
                        lose_tail(child.directory, TAIL_BYTES)
                    await self._again(fault, child)
                case "SIGTERM":
                    child.process.terminate()
                    if not await _until(lambda: not child.is_running, STOP_SECONDS):
                        self.slow_stops += 1
                        self._say(f"         {fault.kind} did not stop within {STOP_SECONDS:g} s and is killed")
                        child.process.kill()
                        await _until(lambda: not child.is_running)
                    await self._again(fault, child)
                case "pause" | "long pause":
                    child.process.send_signal(signal.SIGSTOP)
                    await asyncio.sleep(fault.seconds)
                    child.process.send_signal(signal.SIGCONT)
        finally:
            self._busy.discard(child)

    async def _again(self, fault: Fault, child: Child) -> None:
        await asyncio.sleep(fault.seconds)
        child.spawn()
        await _until(lambda: _is_up(child), START_SECONDS)
        assert child.is_running, child.recent


def lose_tail(directory: Path, size: int) -> None:
    """Cut the newest append-only file; Valkey itself drops the command that is cut in two (aof-load-truncated)."""
    newest = max((directory / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    os.truncate(newest, max(0, newest.stat().st_size - size))


def addresses(stack: Stack) -> list[Address]:
    return [Address("127.0.0.1", server.port) for server in stack.servers]


def _is_up(child: Child) -> bool:
    """Worth doing something to: before that, a fault would hit nothing but imports."""
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
