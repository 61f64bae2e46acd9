"""Starts children together, waits until they are ready, and stops them in order."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field

from midsentence.launcher.child_process import Child, ChildProcess

KILLED = 130  # the exit code that a shell reports of a program killed by Ctrl-C

_POLL_SECONDS = 0.03


@dataclass(frozen=True)
class Stage:
    """Children that are stopped together; those that run longer than `stop_seconds` are killed."""

    children: tuple[Child, ...]
    stop_seconds: float
    sockets: Sequence[socket.socket] = ()
    """Listening sockets that the children inherit, so that a port refuses nobody while a child is started again.

    They are closed when the children are asked to stop. A connection would otherwise wait there until the last child
    has drained, and then be reset.
    """


@dataclass
class StopRequest:
    """The first signal asks the children to stop, the second one kills them."""

    kill: Callable[[], None]
    requested: asyncio.Event = field(default_factory=asyncio.Event)
    is_kill: bool = False

    def __call__(self) -> None:
        if self.requested.is_set():
            self.is_kill = True
            self.kill()
        self.requested.set()


async def supervise(
    stages: Sequence[Stage],
    ready: Callable[[], Awaitable[bool]],
    announce: Callable[[], Awaitable[None]],
    report: Callable[[str], None] | None = None,
) -> bool:
    """Run until a signal asks to stop. Returns False where a second signal killed the children.

    All children are started at once, and each waits for what it needs, which is faster than one after the other. The
    last stage is stopped first. `announce` is called once `ready` returns True. `report` is given a sentence for each
    exit that nobody asked for, and writes it to standard error by default.

    Raises CannotStartError where a child exits before that. No child is left running in any case.
    """
    processes = [[ChildProcess(child, report) for child in stage.children] for stage in stages]
    everyone = [process for stage in processes for process in stage]
    request = StopRequest(lambda: _kill(everyone))
    with _on_signals(request):
        runs = [process.start() for process in everyone]
        stop = asyncio.create_task(request.requested.wait())
        starting = asyncio.create_task(_until(ready))
        try:
            await _first_of(stop, starting, *runs)
            if not stop.done():
                for process in everyone:
                    process.restart_from_now_on()
                await announce()
                await _first_of(stop, *runs)
        finally:
            starting.cancel()
            stop.cancel()
            for stage, members in reversed(list(zip(stages, processes, strict=True))):
                for process in members:
                    process.terminate()
                # Not before: a child that is just started again would inherit a descriptor that is closed.
                for listener in stage.sockets:
                    listener.close()
                await asyncio.gather(*(process.stopped(stage.stop_seconds) for process in members))
    return not request.is_kill


async def _first_of(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # raises the error of a child that could not start, or of a defect here


async def _until(ready: Callable[[], Awaitable[bool]]) -> None:
    while not await ready():  # noqa: ASYNC110 - it polls another process, which sets no event here
        await asyncio.sleep(_POLL_SECONDS)


def _kill(processes: Sequence[ChildProcess]) -> None:
    for process in processes:
        process.kill()


@contextlib.contextmanager
def _on_signals(request: StopRequest) -> Generator[None]:
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    # SIGHUP of a closed terminal reaches this process alone, since the children have sessions of their own. `nohup`
    # ignores it on purpose.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, request)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
