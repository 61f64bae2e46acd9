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

    __slots__ = ("_cursors", "_next", "_running", "waiting")

    def __init__(self) -> None:
        # How many callers wait.
        self.waiting = 0
        # Of the next read, which has not begun.
        self._cursors: set[bytes] = set()
        self._next: asyncio.Future[None] | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self, read: Read) -> "asyncio.Future[None]":
        """Read soon. The future is shared: do not cancel it. It need not be awaited."""
        loop = asyncio.get_running_loop()
        if self._next is None:
            self._next = loop.create_future()
        if self._running is None:
            self._running = loop.create_task(self._run(read))
        return self._next

    async def wait(self, cursor: bytes, read: Read) -> None:
        """Wait for a read that begins after this call and covers this cursor. Raises what the read raises."""
        self._cursors.add(cursor)
        self.waiting += 1
        try:
            await asyncio.shield(self.start(read))
        finally:
            self.waiting -= 1

    def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
        if self._next is not None:
            self._next.cancel()

    async def _run(self, read: Read) -> None:
        try:
            # `done` is None at the end: an exception's traceback holds this frame, so the frame must not hold the
            # future that holds the exception.
            while (done := self._next) is not None:
                self._next = None
                cursors, self._cursors = self._cursors, set()
                try:
                    await read(cursors)
                except asyncio.CancelledError:
                    done.cancel()
                    raise
                except Exception as error:  # noqa: BLE001 - it is raised in the callers of `wait`
                    done.set_exception(error)
                    done.exception()  # marks it as retrieved, for when no caller waits
                else:
                    done.set_result(None)
        finally:
            self._running = None
