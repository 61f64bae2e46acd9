"""Wait for a condition instead of a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import cast


def wait_until(predicate: Callable[[], object], *, description: str, timeout: float = 15) -> None:
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {description}")
        time.sleep(0.02)


async def eventually(predicate: Callable[[], object], *, description: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = predicate()
        if await cast("Awaitable[object]", found) if isawaitable(found) else found:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {description}")
        await asyncio.sleep(0.01)
