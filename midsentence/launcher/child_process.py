"""A child process that is restarted whenever it exits, until it is asked to stop."""

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

# Seconds before a restart. The delay doubles at each, so that a child that exits at once is not started in a tight
# loop, and begins anew for a child that ran for some time.
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 10.0
_STABLE_SECONDS = 30.0

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Child:
    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    log: Path | None = None
    """The file that its output is appended to; without one, it writes to the output of the supervisor."""
    inherits: tuple[int, ...] = ()
    """File descriptors that it holds open as long as it runs."""


class ChildProcess:
    """Runs one child. An exit before `restart_from_now_on()` is an error; after it, the child is started again.

    `report` is given a sentence for each exit that nobody asked for.
    """

    def __init__(self, child: Child, report: Callable[[str], None] | None = None) -> None:
        self.child = child
        self._report = report or write_report
        self._pid: int | None = None
        self._restarts = False
        self._stopping = asyncio.Event()
        self._last_signal = signal.SIGTERM
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Start it. The task ends with `stop()`, or raises CannotStartError where the child exits too early."""
        self._task = asyncio.create_task(self._run(), name=self.child.name)
        return self._task

    def restart_from_now_on(self) -> None:
        self._restarts = True

    def terminate(self) -> None:
        """Send SIGTERM, and start the child no more."""
        self._signal(signal.SIGTERM)

    async def stop(self, within: float) -> None:
        """Send SIGTERM, and SIGKILL where it has not exited `within` seconds."""
        self.terminate()
        await self.stopped(within)

    async def stopped(self, within: float) -> None:
        """Wait for the exit after `terminate()`. Sends SIGKILL where it takes more than `within` seconds."""
        if self._task is None:
            return
        _, pending = await asyncio.wait([self._task], timeout=within)
        if pending:
            self._report(f"{self.child.name} has not stopped within {within:g} s and is killed.")
            self.kill()
            await asyncio.wait(pending)
        self._task.exception()  # retrieved, since asyncio would print it with its traceback after the first cause

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self._last_signal = number
        self._stopping.set()
        if self._pid is not None:
            _send(self._pid, number)

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            started = clock()
            exit_reason = await self._run_once()
            if self._stopping.is_set():
                return
            if not self._restarts:
                raise CannotStartError(f"{self.child.name} could not start ({exit_reason}); {self._log_hint()}.")
            if clock() - started >= _STABLE_SECONDS:
                delay = _FIRST_DELAY
            self._report(f"{self.child.name} stopped ({exit_reason}); it is started again in {delay:g} s.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _run_once(self) -> str:
        """Start the child, wait for its exit, and give the reason."""
        try:
            process = await _spawn(self.child)
        except OSError as error:
            return f"{self.child.command[0]}: {error.strerror}"
        self._pid = process.pid
        if self._stopping.is_set():
            _send(self._pid, self._last_signal)  # the signal came while it was being started
        try:
            code = await process.wait()
        finally:
            self._pid = None
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def _log_hint(self) -> str:
        return f"{self.child.log} says why" if self.child.log else "what it wrote above says why"


def _send(pid: int, number: signal.Signals) -> None:
    # Not Process.send_signal, which first reaps a child that has just exited: asyncio's own wait then finds none,
    # prints a warning and invents an exit code.
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
            # A terminal sends Ctrl-C to its whole foreground process group: all children would stop at once, and the
            # store before those that still write to it.
            start_new_session=True,
            preexec_fn=_kill_with_parent(),
        )


def _kill_with_parent() -> Callable[[], None] | None:
    """A hook that makes Linux kill the child when this process exits: SIGKILL leaves this process no time to do it.

    Without it an orphaned server would hold the port, and an orphaned Valkey the data; every start would be refused
    until a person ends them. It is SIGKILL because a child that drains would be an orphan for as long.

    Linux sends the signal when the *thread* that forked ends, so only the main thread starts children. The parent may
    exit before the call to prctl, so the hook checks for it. The hook makes two system calls only, through a function
    that is resolved beforehand: between fork and exec a child must not wait for a lock.
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


def write_report(line: str) -> None:
    write_line(2, f"midsentence: {line}")


def write_line(descriptor: int, line: str) -> None:
    # Unbuffered, and without errors: a closed terminal, or a pipe into `head`, must not prevent the ordered stop of the
    # children.
    with contextlib.suppress(OSError):
        os.write(descriptor, f"{line}\n".encode())
