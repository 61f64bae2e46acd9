"""Run work that an event may cut short, so that the work has ended whatever happens."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def until(event: asyncio.Future[Any], work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """Return the result of `work`; or, if `event` resolves first, cancel it and return None.

    However this returns or raises, `work` has ended.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task, event}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        await _cancelled(task)
        # An exception of the task holds this frame through its traceback. If the frame held the task, the cycle would
        # keep all that these frames refer to, the turn and its events, until the garbage collector runs.
        del task


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end.

    Its exception is not raised here: it would be chained to the one that is being handled, whose traceback may hold the
    task, and that is a cycle too.
    """
    while not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # asyncio logs exceptions that nobody retrieved
