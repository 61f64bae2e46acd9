"""One read for all that ask while another is running."""

import asyncio
from collections.abc import Awaitable, Callable

# Reads the log for these cursors.
Read = Callable[[set[bytes]], Awaitable[None]]


class SingleFlight:
    """Runs at most one read at a time, and one more for all that asked meanwhile.

    It keeps `read` only while a read runs: kept longer, the feed and this object would hold each other, and only the
    garbage collector would free them.
    """

    __slots__ = ("_cursors", "_loop", "_next", "_running", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # How many callers wait.
        self.waiting = 0
        self._loop = loop
        # Of the next read, which has not begun: the cursors, and the futures of all that asked for it.
        self._cursors: set[bytes] = set()
        self._next: list[asyncio.Future[None]] = []
        self._running: asyncio.Task[None] | None = None

    def start(self, read: Read) -> "asyncio.Future[None]":
        """Read soon. The future need not be awaited, and its cancellation stops no read."""
        # One for each caller: a future that they shared would need a shield around it for each.
        done: asyncio.Future[None] = self._loop.create_future()
        self._next.append(done)
        if self._running is None:
            self._running = self._loop.create_task(self._run(read))
        return done

    async def wait(self, cursor: bytes, read: Read) -> None:
        """Wait for a read that begins after this call and covers this cursor. Raises what the read raises."""
        self._cursors.add(cursor)
        self.waiting += 1
        try:
            await self.start(read)
        finally:
            self.waiting -= 1

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            # A task that is cancelled before its first step runs no `finally`.
            self._running = None
        _cancel(self._next)

    async def _run(self, read: Read) -> None:
        try:
            # `asked` is empty at the end: an exception's traceback holds this frame, so the frame must not hold the
            # futures that hold the exception.
            while asked := self._next:
                self._next = []
                cursors, self._cursors = self._cursors, set()
                try:
                    await read(cursors)
                except asyncio.CancelledError:
                    _cancel(asked)
                    raise
                except Exception as error:  # noqa: BLE001 - it is raised in the callers of `wait`
                    _fail(asked, error)
                else:
                    _succeed(asked)
        finally:
            self._running = None


def _cancel(asked: list[asyncio.Future[None]]) -> None:
    for done in asked:
        done.cancel()


def _fail(asked: list[asyncio.Future[None]], error: Exception) -> None:
    for done in asked:
        if not done.done():
            done.set_exception(error)
            done.exception()  # marks it as retrieved, for when no caller waits


def _succeed(asked: list[asyncio.Future[None]]) -> None:
    for done in asked:
        if not done.done():
            done.set_result(None)
