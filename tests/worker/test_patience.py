"""A process that stood still does not count that time as a provider's silence. See also tests/faults/test_pause.py."""

import asyncio
import time

import pytest

from midsentence_worker.models.patience import LATE_SECONDS, AwakeTimeout

pytestmark = pytest.mark.anyio

# Longer than the patience of these tests, and late enough to count as a standstill.
STANDSTILL_SECONDS = 2 * LATE_SECONDS
PATIENCE_SECONDS = 0.5


def stand_still() -> None:
    """Block the event loop, as a pause of the process does."""
    time.sleep(STANDSTILL_SECONDS)


async def test_time_out_does_not_count_a_standstill() -> None:
    asyncio.get_running_loop().call_later(PATIENCE_SECONDS / 2, stand_still)
    begun = time.monotonic()
    async with AwakeTimeout(PATIENCE_SECONDS):
        while time.monotonic() < begun + STANDSTILL_SECONDS:  # noqa: ASYNC110 - one step of the loop after the other
            await asyncio.sleep(0.01)
        # What came meanwhile is read in some steps of the loop.
        for _ in range(10):
            await asyncio.sleep(0)


async def test_time_out_ends_what_takes_too_long() -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with AwakeTimeout(LATE_SECONDS * 1.2):
            await asyncio.Event().wait()
    assert time.monotonic() - begun >= LATE_SECONDS * 1.2
