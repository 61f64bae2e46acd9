"""A process that stood still does not count that time as a provider's silence. See also tests/faults/test_pause.py."""

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from midsentence_worker.models import byte_stream
from midsentence_worker.models.patience import LATE_SECONDS, AwakeTimeout
from tests.support.model_client import collect_failure, model_at
from tests.support.upstream import Answer, Upstream

# Longer than the patience of these tests, and late enough to count as a standstill.
STANDSTILL_SECONDS = 2 * LATE_SECONDS
PATIENCE_SECONDS = 0.5


def stand_still() -> None:
    """Block the event loop, as a pause of the process does."""
    time.sleep(STANDSTILL_SECONDS)


@pytest.mark.anyio
async def test_time_out_does_not_count_a_standstill() -> None:
    asyncio.get_running_loop().call_later(PATIENCE_SECONDS / 2, stand_still)
    begun = time.monotonic()
    async with AwakeTimeout(PATIENCE_SECONDS):
        while time.monotonic() < begun + STANDSTILL_SECONDS:  # noqa: ASYNC110 - one step of the loop after the other
            await asyncio.sleep(0.01)
        # What came meanwhile is read in some steps of the loop.
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.mark.anyio
async def test_time_out_ends_what_takes_too_long() -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with AwakeTimeout(LATE_SECONDS * 1.2):
            await asyncio.Event().wait()
    assert time.monotonic() - begun >= LATE_SECONDS * 1.2


# So short a delay is none for uvloop, and what it returns then is no timer.
NO_DELAY = 0.0002
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@LOOPS
def test_time_out_of_no_time_ends(run: Callable[..., None]) -> None:
    async def wait() -> None:
        async with AwakeTimeout(NO_DELAY):
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        run(wait())


@LOOPS
def test_stream_stalls_however_often_it_is_looked_at(
    run: Callable[..., None], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_stream, "_LOOK_SECONDS", NO_DELAY)
    upstream.answers.append(Answer(["Half ", "of it"], stall_after=1))

    async def stall() -> None:
        async with asyncio.timeout(10), model_at(upstream.url, timeout_seconds=0.2) as model:
            text, failure = await collect_failure(model)
        assert (text, failure.code) == ("Half ", "model_stalled")

    run(stall())
