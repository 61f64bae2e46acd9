"""A turn of which something cannot be written ends with `internal`, once, and its model is not asked again."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from midsentence.events import Delta
from midsentence.ids import EventId
from midsentence.lease import Lease
from midsentence.log import SessionLog, View, Write, Written
from midsentence.settings import Settings
from midsentence.store.scripts import command
from midsentence.store.store import Store
from midsentence_worker.models.base import Finish, Mark, Message, Piece
from midsentence_worker.models.demo import DemoModel
from midsentence_worker.models.errors import ModelError
from midsentence_worker.worker import Worker
from tests.support.fake_redis import fake_redis
from tests.support.keys import KEYS
from tests.support.processes import RedisChild
from tests.support.turns import RecordingLog, ScriptedModel, run_turn
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

POISON = "a poisoned text"
LONE = "\ud800"


class RefusingLog(RecordingLog):
    """Refuses for good what contains POISON; from the first refusal on everything where `for_ever`."""

    def __init__(self, *, for_ever: bool = False) -> None:
        super().__init__()
        self.refusals = 0
        self.spent: list[int] = []
        self._for_ever = for_ever

    async def read(self, _session_id: str) -> object:
        view: Any = await super().read(_session_id)
        return SimpleNamespace(fold=view.fold, top=EventId(1, 1, len(self.events)))

    async def write(self, writes: Sequence[Write]) -> list[Written | Exception]:
        (write,) = writes
        if POISON.encode() in b"".join(data for _, data in write.events) or (self.refusals and self._for_ever):
            self.refusals += 1
            return [ResponseError("WRONGTYPE Operation against a key of another kind")]
        return await super().write(writes)

    async def release(self, _lease: Lease, *, counts: bool, attempts: int = 0) -> None:
        assert counts
        self.spent.append(attempts)


async def test_refused_event_ends_the_turn_once_with_internal() -> None:
    log, model = RefusingLog(), ScriptedModel("m", [Delta("Good"), Mark("1"), Delta(POISON), Finish("stop", None)])
    with capture_logs() as logs:
        await run_turn(log, model, flush_ms=1)
    assert (log.told()[-1], log.end["error"]["code"]) == ("end error", "internal")
    assert (log.refusals, log.spent, len(model.requests)) == (1, [], 1)
    assert [line["error"].partition(":")[0] for line in logs if line["event"] == "turn_unwritable"] == ["ResponseError"]
    assert "WRONGTYPE" in str(logs)
    assert POISON not in str(logs)


async def test_turn_whose_end_is_refused_too_is_given_back_with_all_its_attempts_spent() -> None:
    log, model = RefusingLog(for_ever=True), ScriptedModel("m", [Delta(POISON), Finish("stop", None)])
    await run_turn(log, model, max_attempts=7)
    assert (log.refusals > 1, log.spent, len(model.requests)) == (True, [7], 1)
    assert [kind for kind, _ in log.events] in ([], ["start"])


@pytest.mark.parametrize(
    "unwritable",
    [
        lambda: ModelError("model_refused_request", f"no {LONE}"),
        lambda: UnicodeError(f"defect {POISON}"),
    ],
)
async def test_end_that_cannot_be_encoded_is_replaced(unwritable: Callable[[], Exception]) -> None:
    log, model = RefusingLog(), ScriptedModel("m", [unwritable])
    await run_turn(log, model)
    assert (log.end["reason"], log.end["error"]["code"]) == ("error", "internal")
    assert (log.refusals, log.spent, len(model.requests)) == (0, [], 1)


async def test_write_that_cannot_be_encoded_fails_no_other_turn() -> None:
    async with fake_redis() as url:
        store = Store(Settings.model_validate({"redis_url": url, "partitions": 1}))
        log = SessionLog(store)
        try:
            one, other = [(await log.start("ann", "hello")).session_id for _ in range(2)]
            leases = [Lease(session_id, 1, 1, "w") for session_id in (one, other)]
            data = [(Delta.type, Delta("x").encoded())]
            outcomes = await log.write([Write(leases[0], 1, data, mark=LONE), Write(leases[1], 1, data)])
        finally:
            await store.aclose()
    assert isinstance(outcomes[0], UnicodeEncodeError)
    assert outcomes[1] == Written("fenced", 0)


class CountedModel(DemoModel):
    """Says something after it was told to."""

    def __init__(self, answer: str = "Hello") -> None:
        super().__init__()
        self.asked = 0
        self.may_answer = asyncio.Event()
        self._answer = answer

    async def warm_up(self) -> None:
        pass

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        del messages, mark
        self.asked += 1
        await self.may_answer.wait()
        yield Delta(self._answer)
        yield Finish("stop", None)


NO_PROVIDER = {"OPENAI_BASE_URL": None, "OPENAI_API_KEY": None, "model": None, "models": None, "partitions": 1}


async def ended(log: SessionLog, session_id: str) -> View:
    """Wait for the end of the newest turn."""

    async def end() -> object:
        view = await log.read(session_id)
        assert view.fold is not None
        return view.fold.messages()[-1].end

    await eventually(end, description="the end of the turn")
    return await log.read(session_id)


async def test_model_is_asked_once_while_the_log_cannot_be_written_at_all() -> None:
    """The turn ends when the log can be written again."""
    async with fake_redis() as url:
        settings = Settings.model_validate({"redis_url": url, "lease_seconds": 0.2, **NO_PROVIDER})
        store, model = Store(settings), CountedModel()
        worker = Worker(settings, store, {"demo": model})
        task = asyncio.create_task(worker.run())
        log = SessionLog(store)
        try:
            session_id, _ = await log.start("ann", "hello")
            await eventually(lambda: model.asked, description="the model is asked")
            name = KEYS.session(session_id).log
            await store.execute(command("RENAME", name, f"{name}:kept"), command("SET", name, "no stream"))
            with capture_logs() as logs:
                model.may_answer.set()
                await eventually(
                    lambda: sum(line["event"] == "turn_abandoned" for line in logs) > 2,
                    description="the end was tried several times",
                )
            await store.execute(command("RENAME", f"{name}:kept", name))

            view = await ended(log, session_id)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await store.aclose()
    assert view.fold is not None
    assert (view.state, view.fold.messages()[-1].end) == ("idle", "error")
    assert model.asked == 1


async def test_event_that_is_too_long_for_redis_ends_its_turn_and_no_other(tmp_path: Path) -> None:
    """proto-max-bulk-len: Redis closes the connection that all turns share."""
    child = RedisChild(tmp_path, None, "--proto-max-bulk-len", str(2**20))
    child.start()
    try:
        settings = Settings.model_validate({"redis_url": child.url, **NO_PROVIDER})
        store, model = Store(settings), CountedModel("x" * 2**21)
        worker = Worker(settings, store, {"demo": model})
        task = asyncio.create_task(worker.run())
        log = SessionLog(store)
        try:
            session_id, _ = await log.start("ann", "hello")
            model.may_answer.set()

            view = await ended(log, session_id)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await store.aclose()
    finally:
        child.stop()
    assert view.fold is not None
    error: Any = view.fold.messages()[-1].error
    assert (error.code, model.asked) == ("internal", 1)
