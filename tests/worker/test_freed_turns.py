"""A turn that has ended is freed at once, without the garbage collector.

A cycle of references would keep a turn, with its events and its conversation, until the collector runs.
"""

import asyncio
import gc
import tracemalloc
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import CoroutineType, FrameType, SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from midsentence.errors import StoreUnavailableError
from midsentence.events import Delta, Event, Reasoning
from midsentence.events import Message as UserMessage
from midsentence.fold import Fold
from midsentence.ids import EventId
from midsentence.jobs import Claim
from midsentence.log import Lease, Write, Written
from midsentence_worker import recovery
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.models.base import Finish, Mark, Message, Model, Piece, Takeover
from midsentence_worker.models.errors import ModelError
from midsentence_worker.turn import Turn
from tests.support.model_client import model_at
from tests.support.turns import turn_services
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from midsentence_worker.turn_writer import TurnWriter

pytestmark = pytest.mark.anyio

TURNS = 10
# Far more than the rest of what a turn allocates.
TEXT = "x" * 100_000
OURS = (asyncio.Task, CoroutineType, AsyncGenerator, FrameType, TracebackType, BaseException)

# What happens to a turn that runs.
Deed = Callable[[Turn, "asyncio.Task[None]"], Coroutine[Any, Any, object]]


class Log:
    """A log that accepts writes unless `reply` says otherwise, and the jobs of the turns in it."""

    def __init__(self, reply: Written | Exception | None = None, *, away: bool = False) -> None:
        self._reply = reply
        self._away = away
        self.ended = 0
        self.released = 0

    async def read(self, _session_id: str) -> object:
        if self._away:
            raise StoreUnavailableError("away")
        fold = Fold()
        fold.apply(Event(EventId(1, 1, 0), UserMessage.type, UserMessage("user", "Hello?", 1, 0).encoded()))
        return SimpleNamespace(fold=fold)

    async def write(self, writes: Sequence[Write]) -> list[Written | Exception]:
        await asyncio.sleep(0)
        if isinstance(self._reply, StoreUnavailableError):
            # The turn ends during this write.
            await asyncio.sleep(0.05)
            raise StoreUnavailableError("away") from ConnectionError("refused")
        self.ended += sum(write.folded is not None for write in writes)
        return [self._reply or Written("ok", write.first + len(write.events) - 1) for write in writes]

    def servers(self, leases: Sequence[Lease]) -> Sequence[object]:
        return [None] * len(leases)

    async def fold(self, _lease: Lease, _seq: int, _folded: bytes) -> bool:
        return True

    async def heads(self, _session_ids: Sequence[str]) -> Sequence[None]:
        return [None]

    async def release(self, _lease: Lease, *, counts: bool, attempts: int = 0) -> None:
        del counts, attempts
        self.released += 1


class ScriptedModel:
    """Yields pieces, raises an error among them, and is silent after them unless they hold a `Finish`.

    With `fails_late`, it fails when it is cancelled, as if its own error came at that moment.
    """

    name = "scripted"

    def __init__(self, *pieces: Piece | Callable[[], Exception], fails_late: bool = False) -> None:
        self._pieces = pieces
        self._fails_late = fails_late

    @property
    def takeover(self) -> Takeover:
        return "restart"

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        del messages, mark
        for piece in self._pieces:
            await asyncio.sleep(0)
            if callable(piece):
                raise piece()
            yield piece
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if self._fails_late:
                raise refusal() from None
            raise

    async def warm_up(self) -> None: ...

    async def cancel(self, mark: str) -> None: ...

    async def aclose(self) -> None: ...


class Worker:
    """Runs turns one after another, as a worker does, and knows which of their objects live."""

    def __init__(self, log: Log, model: Model, batcher: AppendBatcher, heal_attempts: int) -> None:
        self._services = turn_services([model], log, batcher, heal_attempts=heal_attempts)
        self.objects: weakref.WeakSet[Turn | TurnWriter | asyncio.Task[Any]] = weakref.WeakSet()

    def alive(self) -> Counter[str]:
        return Counter(type(found).__name__ for found in self.objects)

    async def run(self, number: int, deed: Deed) -> None:
        turn = Turn(Claim(Lease(f"00{number:022d}", 1, 1, "w"), 0, 1), self._services)
        self.objects |= {turn, turn.writer}
        task = asyncio.create_task(turn.run())
        await deed(turn, task)
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()

    @contextmanager
    def recording_tasks(self) -> Generator[None]:
        def task(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> "asyncio.Task[Any]":
            made = asyncio.Task(coroutine, loop=loop, **more)
            # Without tasks of anyio, and of asyncio, which closes generators in tasks.
            if isinstance(coroutine, CoroutineType) and "midsentence_worker" in coroutine.cr_code.co_filename:
                self.objects.add(made)
            return made

        loop = asyncio.get_running_loop()
        loop.set_task_factory(cast("Any", task))
        try:
            yield
        finally:
            loop.set_task_factory(None)


@asynccontextmanager
async def worker_with(log: Log, model: Model, heal_attempts: int = 0) -> AsyncGenerator[Worker]:
    batcher = AppendBatcher(cast("Any", log), 0)
    running = asyncio.create_task(batcher.run())
    yield Worker(log, model, batcher, heal_attempts)
    running.cancel()
    await asyncio.wait([running])


@pytest.fixture(autouse=True)
def uncollected() -> Generator[None]:
    gc.collect()
    gc.disable()
    with capture_logs():
        yield
    gc.enable()


def is_ours(each: object) -> bool:
    return type(each).__module__.startswith("midsentence") or isinstance(each, OURS)


def garbage() -> Counter[str]:
    """Objects of this project and of asyncio that only the collector could free, by type."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return Counter(type(each).__name__ for each in cast("list[object]", gc.garbage) if is_ours(each))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


async def nothing(_turn: Turn, _task: "asyncio.Task[None]") -> None: ...


async def written(turn: Turn) -> None:
    await eventually(
        lambda: turn.writer.flush.next_tick and not turn.writer.has_unwritten, description="it has written"
    )


async def stopped(turn: Turn, _task: "asyncio.Task[None]") -> None:
    await written(turn)
    turn.writer.stop()


async def handed_over(turn: Turn, task: "asyncio.Task[None]") -> None:
    await written(turn)
    task.cancel()


async def cancelled_while_the_log_is_away(turn: Turn, task: "asyncio.Task[None]") -> None:
    await eventually(lambda: turn.writer.flush.next_tick, description="it has tried to write")
    task.cancel()


def refusal() -> ModelError:
    return ModelError("model_failed", "It broke.")


def defect() -> Exception:
    return ValueError("a defect")


TEXTS: list[Piece] = [Reasoning("Hm."), Delta(TEXT), Mark("1")]
FINISH = Finish("stop", None)
ENDS: dict[str, tuple[Log, list[Any], Deed]] = {
    "finished": (Log(), [*TEXTS, FINISH], nothing),
    "stopped": (Log(), TEXTS, stopped),
    "failed by the model": (Log(), [*TEXTS, refusal], nothing),
    "failed by a defect": (Log(), [*TEXTS, defect], nothing),
    "fenced": (Log(Written("fenced", 0)), TEXTS, nothing),
    "lost with the log's tail": (Log(Written("hole", -1)), TEXTS, nothing),
    "refused by the log": (Log(ValueError("a defect")), TEXTS, nothing),
    "handed over": (Log(), TEXTS, handed_over),
    "handed over while the model fails": (Log(), TEXTS, handed_over),
    "handed over in an outage": (Log(StoreUnavailableError("away")), TEXTS, cancelled_while_the_log_is_away),
    "not begun in an outage": (Log(away=True), TEXTS, nothing),
}


@pytest.mark.parametrize("end", ENDS)
async def test_turn_is_freed_when_it_ends(end: str) -> None:
    log, pieces, deed = ENDS[end]
    async with worker_with(log, ScriptedModel(*pieces, fails_late="fails" in end)) as worker:
        with worker.recording_tasks():
            await worker.run(0, deed)
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                for number in range(1, TURNS + 1):
                    await worker.run(number, deed)
                # A write in progress holds its writer until it fails.
                await eventually(lambda: not worker.alive(), description=f"all is freed: {worker.alive()}")
                grown = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
        assert garbage() == {}
    assert grown < len(TEXT)


ANSWERS: dict[str, tuple[Answer, Deed]] = {
    "finished": (Answer(), nothing),
    "stopped": (Answer(stall_after=2), stopped),
    "handed over": (Answer(stall_after=2), handed_over),
    "cut": (Answer(cut_after=2), nothing),
    "taken up in vain": (Answer(cut_after=2, cuts=99), nothing),
    "stalled": (Answer(stall_after=2), nothing),
    "failed": (Answer(error_after=2), nothing),
    "refused": (Answer(status=401), nothing),
}


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("end", ANSWERS)
async def test_turn_of_a_provider_is_freed_when_it_ends(
    upstream: Upstream, end: str, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_FIRST_PAUSE_SECONDS", 0.001)
    answer, deed = ANSWERS[end]
    heal_attempts = 2 if "vain" in end else 0
    upstream.answers += [answer] * TURNS * (1 + heal_attempts)
    timeout_seconds = 0.3 if end == "stalled" else 10
    async with (
        model_at(upstream.url, api=api, timeout_seconds=timeout_seconds) as model,
        worker_with(Log(), model, heal_attempts) as worker,
    ):
        with worker.recording_tasks():
            for number in range(TURNS):
                await worker.run(number, deed)
            # Cancellations of responses go on in the background for a moment.
            await eventually(lambda: not worker.alive(), description=f"all is freed: {worker.alive()}")
