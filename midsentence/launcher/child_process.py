"""Child processes that are kept running until they are told to stop."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from midsentence.errors import CannotStartError

# A child that dies at once would otherwise be started in a tight loop; one that ran well for a while and then died is
# most often back at once.
FIRST_DELAY = 0.5
LONGEST_DELAY = 10.0
LIVED_WELL = 30.0

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Child:
    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    log: Path | None = None
    """Where its output goes; to the supervisor's own where there is none."""
    inherits: tuple[int, ...] = ()
    """File descriptors that it is to hold open as long as it lives."""


class Keeper:
    """Keeps one child running. Until `settled()` its death is the end; after that it is started again."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._pid: int | None = None
        self._settled = False
        self._stopping = asyncio.Event()
        self._last_signal = signal.SIGTERM
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Start it. The task ends with `stop()`; it raises CannotStartError if the child dies before `settled()`."""
        self._task = asyncio.create_task(self._keep(), name=self.child.name)
        return self._task

    def settled(self) -> None:
        self._settled = True

    async def stop(self, within: float) -> None:
        """SIGTERM, and SIGKILL for one that has not ended `within` seconds."""
        if self._task is None:
            return
        self._end(signal.SIGTERM)
        _, pending = await asyncio.wait([self._task], timeout=within)
        if pending:
            say(f"{self.child.name} has not stopped within {within:g} s and is killed.")
            self.kill()
            await asyncio.wait(pending)
        self._task.exception()  # one cause is told; asyncio would print a second one with its traceback

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        self._last_signal = number
        self._stopping.set()
        if self._pid is not None:
            _send(self._pid, number)

    async def _keep(self) -> None:
        clock = asyncio.get_running_loop().time
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            started = clock()
            death = await self._live()
            if self._stopping.is_set():
                return
            if not self._settled:
                raise CannotStartError(f"{self.child.name} could not start ({death}); {self._where_it_says_why()}.")
            if clock() - started >= LIVED_WELL:
                delay = FIRST_DELAY
            say(f"{self.child.name} stopped ({death}); it is started again in {delay:g} s.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _live(self) -> str:
        """One life of the child, from its start to what ended it."""
        try:
            process = await _spawn(self.child)
        except OSError as error:
            return f"{self.child.command[0]}: {error.strerror}"
        self._pid = process.pid
        if self._stopping.is_set():
            _send(self._pid, self._last_signal)  # it was asked to end while it was being made
        try:
            code = await process.wait()
        finally:
            self._pid = None
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def _where_it_says_why(self) -> str:
        return f"{self.child.log} says why" if self.child.log else "what it wrote above says why"


def _send(pid: int, number: signal.Signals) -> None:
    # Not Process.send_signal, which first reaps a child that has just died: asyncio's own waiting for it then finds
    # none, prints a warning and makes up an exit code.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def _spawn(child: Child) -> asyncio.subprocess.Process:
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(child.log.open("ab")) if child.log else None
        return await asyncio.create_subprocess_exec(
            *child.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child.env,
            pass_fds=child.inherits,
            # A terminal sends Ctrl-C to all of its foreground group: the children would stop all at once, the store
            # under the feet of those that still want to write to it.
            start_new_session=True,
            preexec_fn=_tied_to_this_process(),
        )


def _tied_to_this_process() -> Callable[[], None] | None:
    """Linux kills the child when this process is gone: one that is killed with -9 can stop nobody itself.

    Without this an orphaned server would hold the port and an orphaned Valkey the data, and the next start would be
    refused until a person finds them. SIGKILL, because a child that drains for a while is an orphan for as long.
    Two traps: the signal is sent when the *thread* that forked ends, hence only the main thread starts children; and
    the parent may be gone before the call, which is why the hook looks. It only makes two system calls, through a
    function that was resolved beforehand, as between fork and exec no lock may be waited for.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def hook() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL.value)
        if os.getppid() != parent:
            os._exit(1)

    return hook


def say(line: str) -> None:
    write_line(2, f"midsentence: {line}")


def write_line(descriptor: int, line: str) -> None:
    # Unbuffered and never raising: a terminal that was closed, or a pipe into `head`, must not keep the children from
    # being stopped in order.
    with contextlib.suppress(OSError):
        os.write(descriptor, f"{line}\n".encode())
