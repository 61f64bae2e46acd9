"""A worker that was paused for longer than a model may be silent. A machine that is suspended does the same to it."""

import time
from collections.abc import Generator

import pytest

from tests.conftest import running
from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

SILENCE_SECONDS = 3.0
# Shorter than the lease of the stack.
PAUSE_SECONDS = 4.5
TOKENS = ["Hello", ", ", "world."]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    settings = {"MIDSENTENCE_MODEL_TIMEOUT_SECONDS": str(SILENCE_SECONDS)}
    with Upstream() as upstream:
        yield from running(Stack(tmp_path_factory.mktemp("pause"), upstream, settings=settings))


@pytest.mark.parametrize("before", [0, 1], ids=["before the first text", "within the answer"])
def test_a_paused_worker_does_not_take_its_pause_for_silence(stack: Stack, visitor: Visitor, before: int) -> None:
    """What the model wrote meanwhile waits at the socket, but the timers of the worker are due before it is read."""
    upstream = stack.upstream
    upstream.reset()
    answer = Answer(tokens=TOKENS, gate=True)
    upstream.answers.append(answer)
    session_id = visitor.start("Is anybody there?")
    wait_until(lambda: upstream.requests, description="the model is asked")
    answer.release(before)
    wait_until(lambda: upstream.requests[0].sent == before, description="its first text is sent")
    stack.workers[0].pause()
    answer.release_all()
    wait_until(lambda: upstream.requests[0].finished is not None, description="the answer is sent")
    time.sleep(PAUSE_SECONDS)
    stack.workers[0].resume()
    transcript = visitor.read(session_id)
    assert (transcript.answer(), transcript.end()) == ("".join(TOKENS), "stop")
    # Silence would have made another request necessary, whether the answer had begun or not.
    assert len(upstream.log) == 1
