"""One read for all who ask while another is under way."""

import asyncio
from collections.abc import Awaitable, Callable

# Asks for one more read, for these places.
Read = Callable[[set[bytes]], Awaitable[None]]


class SharedRead:
    __slots__ = ("_done", "_failed", "_read", "_reading", "_wanted")

    def __init__(self, read: Read, failed: Callable[[Exception], None]) -> None:
        """`failed` is told why a read failed, whether or not anybody waits for it."""
        self._read = read
        self._failed = failed
        self._wanted: set[bytes] = set()
        # Of the next read, which has not begun; whoever asks from now on waits for it.
        self._done: asyncio.Future[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    def begin(self) -> "asyncio.Future[None]":
        """Read soon. The future is everybody's: nobody may cancel it, and nobody need wait for it."""
        loop = asyncio.get_running_loop()
        if self._done is None:
            self._done = loop.create_future()
        if self._reading is None:
            self._reading = loop.create_task(self._run())
        return self._done

    async def of(self, place: bytes) -> None:
        """Wait for a read that begins after this call and concerns this place. Raises what the read raises."""
        self._wanted.add(place)
        await asyncio.shield(self.begin())

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._done is not None:
            self._done.cancel()

    async def _run(self) -> None:
        try:
            while (done := self._done) is not None:
                self._done = None
                wanted, self._wanted = self._wanted, set()
                try:
                    await self._read(wanted)
                except asyncio.CancelledError:
                    done.cancel()
                    raise
                except Exception as error:  # noqa: BLE001 - it is theirs who wait
                    self._failed(error)
                    done.set_exception(error)
                    done.exception()  # nobody need have waited
                else:
                    done.set_result(None)
        finally:
            # Before anybody else can look: who asks from now on needs another task.
            self._reading = None
