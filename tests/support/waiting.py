"""Wait for a condition, never for luck."""

import asyncio
import time
from collections.abc import Awaitable, Callable


def wait_until(predicate: Callable[[], object], *, description: str, timeout: float = 15) -> None:
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {description}")
        time.sleep(0.02)


async def eventually(
    predicate: Callable[[], object] | Callable[[], Awaitable[object]], *, description: str, seconds: float = 10
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = predicate()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {description}")
        await asyncio.sleep(0.01)
