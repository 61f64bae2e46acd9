import os
from contextlib import suppress

import pytest

from midsentence.launcher.ready_pipe import ReadyPipe, say_ready

pytestmark = pytest.mark.anyio


async def test_the_pipe_is_complete_when_every_process_is_ready() -> None:
    with ReadyPipe.of(2) as ready:
        heard: list[bool] = [await ready.is_complete()]
        for _ in range(2):
            say_ready(os.dup(ready.descriptor))
            heard.append(await ready.is_complete())
        assert heard == [False, False, True]
        say_ready(os.dup(ready.descriptor))  # started again
        assert await ready.is_complete()


async def test_a_process_that_was_started_very_often_is_not_blocked_by_a_full_pipe() -> None:
    with ReadyPipe.of(1) as ready:
        with suppress(BlockingIOError):
            while True:
                os.write(ready.descriptor, b"." * 4096)
        say_ready(os.dup(ready.descriptor))


def test_a_process_without_a_supervisor_tells_nobody() -> None:
    say_ready(None)
