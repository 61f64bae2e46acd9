"""A pipe on which each process of a program tells its supervisor that it is ready."""

import contextlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Self


class ReadyPipe:
    """The supervisor's side. Each process inherits `descriptor` and gives it to `say_ready`."""

    def __init__(self, count: int, reader: int, descriptor: int) -> None:
        self.descriptor = descriptor
        self._missing = count
        self._reader = reader

    @classmethod
    @contextmanager
    def of(cls, count: int) -> Generator[Self]:
        """Make a pipe for `count` processes."""
        reader, writer = os.pipe()
        try:
            os.set_blocking(reader, False)
            os.set_blocking(writer, False)
            yield cls(count, reader, writer)
        finally:
            os.close(reader)
            os.close(writer)

    async def is_complete(self) -> bool:
        """Whether all processes are ready."""
        with contextlib.suppress(BlockingIOError):
            self._missing -= len(os.read(self._reader, self._missing))
        return self._missing == 0


def say_ready(descriptor: int | None) -> None:
    """Tell the supervisor, where there is one, that this process is ready."""
    if descriptor is None:
        return
    # The supervisor reads only what the first starts write, so thousands of restarts fill the pipe.
    with contextlib.suppress(BlockingIOError):
        os.write(descriptor, b".")
    os.close(descriptor)
