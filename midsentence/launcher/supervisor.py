"""Starts children together, waits until they are ready, and stops them in order."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field

from midsentence.launcher.child_process import Child, Keeper

POLL_SECONDS = 0.03


@dataclass(frozen=True)
class Stage:
    """Children that may be stopped at the same time, and how long they may take before they are killed."""

    children: tuple[Child, ...]
    stop_seconds: float


@dataclass
class StopWish:
    """The first signal asks the children to stop, the second one kills them."""

    kill: Callable[[], None]
    wished: asyncio.Event = field(default_factory=asyncio.Event)
    insisted: bool = False

    def __call__(self) -> None:
        if self.wished.is_set():
            self.insisted = True
            self.kill()
        self.wished.set()


async def supervise(
    stages: Sequence[Stage], ready: Callable[[], Awaitable[bool]], announce: Callable[[], Awaitable[None]]
) -> bool:
    """Run until a signal asks to stop; False where a second one had to.

    All children are started at once: each waits for what it needs, and a person does not wait for them one by one. The
    last stage is stopped first. `announce` is called when `ready` says True.
    Raises CannotStartError where a child dies before that. Nothing is left running in any case.
    """
    keepers = [[Keeper(child) for child in stage.children] for stage in stages]
    everyone = [keeper for stage in keepers for keeper in stage]
    wish = StopWish(lambda: _kill(everyone))
    with _told_by_signals(wish):
        lives = [keeper.start() for keeper in everyone]
        stop = asyncio.create_task(wish.wished.wait())
        starting = asyncio.create_task(_until(ready))
        try:
            await _first_of(stop, starting, *lives)
            if not stop.done():
                for keeper in everyone:
                    keeper.settled()
                await announce()
                await _first_of(stop, *lives)
        finally:
            starting.cancel()
            stop.cancel()
            for stage, kept in reversed(list(zip(stages, keepers, strict=True))):
                await asyncio.gather(*(keeper.stop(stage.stop_seconds) for keeper in kept))
    return not wish.insisted


async def _first_of(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # a child that could not start, or a defect here, ends the whole


async def _until(ready: Callable[[], Awaitable[bool]]) -> None:
    while not await ready():  # noqa: ASYNC110 - it asks another process, which sets no event here
        await asyncio.sleep(POLL_SECONDS)


def _kill(keepers: Sequence[Keeper]) -> None:
    for keeper in keepers:
        keeper.kill()


@contextlib.contextmanager
def _told_by_signals(wish: StopWish) -> Generator[None]:
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    # A closed terminal reaches this process alone, as the children have sessions of their own; `nohup` means it not to.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, wish)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
