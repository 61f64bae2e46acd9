"""Run single turns in a test, without a worker."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec

from midsentence.events import Delta, Event, Failure
from midsentence.events import Message as UserMessage
from midsentence.fold import Fold
from midsentence.ids import EventId
from midsentence.jobs import Claim
from midsentence.log import Lease, Write, Written
from midsentence.model_list import ModelList, ModelSpec
from midsentence.settings import Settings
from midsentence_worker.answer import TurnServices
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.models.base import Finish, Message, Model, Piece, Takeover
from midsentence_worker.models.errors import ModelError
from midsentence_worker.turn import Turn

SESSION = "00" + "s" * 22
QUESTION = Message("user", "Hello?")
STOP = Finish("stop", None)


class ClosedBreakers:
    """Circuit breakers that are closed, except for the waits that a test scripts."""

    def __init__(self, waits: dict[str, list[float]] | None = None) -> None:
        self.failures: list[str] = []
        self.successes: list[str] = []
        self.released_probes: list[str] = []
        # The seconds for which `admit` refuses a model, one after the other.
        self._waits = waits or {}

    async def admit(self, model: str) -> float:
        waits = self._waits.get(model)
        return waits.pop(0) if waits else 0.0

    def failure(self, model: str) -> Failure | None:
        del model
        return Failure("model_unreachable", "Nobody answered.", retryable=True)

    async def failed(self, model: str, failure: Failure, retry_after: float | None = None) -> None:
        del failure, retry_after
        self.failures.append(model)

    async def succeeded(self, model: str) -> None:
        self.successes.append(model)

    async def released(self, model: str) -> None:
        self.released_probes.append(model)


def turn_services(
    models: Sequence[Model],
    log: Any,
    batcher: AppendBatcher,
    breakers: Any = None,
    fallbacks: Sequence[str] | None = None,
    **settings: Any,
) -> TurnServices:
    """What a turn needs. The first model answers; `fallbacks` are by default all others. `log` is the jobs too."""
    given = Settings.model_validate(settings)
    names = [model.name for model in models]
    allowed = names if fallbacks is None else fallbacks
    specs = [ModelSpec(name, name, fallbacks=tuple(other for other in allowed if other != name)) for name in names]
    vars(given)["model_list"] = ModelList(tuple(specs))
    by_name = {model.name: model for model in models}
    return TurnServices(given, by_name, cast("Any", breakers or ClosedBreakers()), log, log, batcher)


class Request(NamedTuple):
    """What a scripted model was asked."""

    messages: Sequence[Message]
    mark: str


class ScriptedModel:
    """Plays one script for each request: it yields pieces, and raises what a callable among them gives.

    After its last script it plays that one again.
    """

    def __init__(
        self, name: str, *scripts: Sequence[Piece | Callable[[], Exception]], takeover: str = "restart"
    ) -> None:
        self.name = name
        self.requests: list[Request] = []
        self.cancelled: list[str] = []
        self._scripts = scripts
        self._takeover = takeover

    @property
    def takeover(self) -> Takeover:
        return cast("Takeover", self._takeover)

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
        self.requests.append(Request(messages, mark))
        for piece in script:
            await asyncio.sleep(0)
            if callable(piece):
                raise piece()
            yield piece
        await asyncio.get_running_loop().create_future()

    async def warm_up(self) -> None: ...

    async def cancel(self, mark: str) -> None:
        self.cancelled.append(mark)

    async def aclose(self) -> None: ...


class RecordingLog:
    """A log of one session with one question. It keeps what is written, and stands for the jobs too."""

    def __init__(self, before: Sequence[tuple[str, dict[str, Any]]] = ()) -> None:
        """`before`: events that an earlier worker wrote for the turn."""
        self.events: list[tuple[str, Any]] = []
        self.marks: list[str] = []
        self.named: list[str] = []
        self.is_deleted = False
        self._before = before

    async def read(self, _session_id: str) -> object:
        fold = Fold()
        fold.apply(Event(EventId(1, 1, 0), UserMessage.type, UserMessage("user", "Hello?", 1, 0).encoded()))
        for number, (kind, data) in enumerate(self._before, start=1):
            fold.apply(Event(EventId(1, 1, number), kind, msgspec.json.encode(data)))
        return SimpleNamespace(fold=fold)

    async def write(self, writes: Sequence[Write]) -> list[Written | Exception]:
        await asyncio.sleep(0)
        for write in writes:
            self.events += [(kind, msgspec.json.decode(data)) for kind, data in write.events]
            if write.mark:
                self.marks.append(write.mark)
        return [Written("ok", write.first + len(write.events) - 1) for write in writes]

    def servers(self, leases: Sequence[Lease]) -> Sequence[object]:
        return [None] * len(leases)

    async def fold(self, _lease: Lease, _seq: int, _folded: bytes) -> bool:
        return True

    async def heads(self, _session_ids: Sequence[str]) -> Sequence[object]:
        return [None if self.is_deleted else object()]

    async def release(self, _lease: Lease, *, counts: bool, attempts: int = 0) -> None: ...

    async def name_model(self, _lease: Lease, model: str) -> None:
        self.named.append(model)

    @property
    def end(self) -> Any:
        assert self.events[-1][0] == "end"
        return self.events[-1][1]

    def told(self) -> list[str]:
        """The events in short, the text of each attempt in one piece."""
        short: list[str] = []
        for kind, data in self.events:
            match kind:
                case "start":
                    short.append(f"start {data['attempt']} {data['model']}")
                case "delta" if short and short[-1].startswith("text "):
                    short[-1] += data["text"]
                case "delta":
                    short.append(f"text {data['text']}")
                case "reset":
                    short.append(f"reset {data['attempt']}")
                case "end":
                    short.append(f"end {data['reason']}")
                case _:
                    short.append(f"{kind} {data['text']}")
        return short


@asynccontextmanager
async def running_turn(
    log: Any, models: Sequence[Model], *, claim: Claim | None = None, breakers: Any = None, **settings: Any
) -> AsyncGenerator["tuple[Turn, asyncio.Task[None]]"]:
    batcher = AppendBatcher(log, 0)
    sending = asyncio.create_task(batcher.run())
    services = turn_services(models, log, batcher, breakers, **settings)
    turn = Turn(claim or Claim(Lease(SESSION, 1, 1, "w"), 0, 1), services)
    task = asyncio.create_task(turn.run())
    try:
        yield turn, task
    finally:
        task.cancel()
        sending.cancel()
        await asyncio.wait([task, sending])


async def run_turn(log: Any, *models: Model, **options: Any) -> None:
    """Run a turn to its end."""
    async with asyncio.timeout(30), running_turn(log, models, **options) as (_, task):
        await task


def cut() -> ModelError:
    return ModelError("model_truncated", "It broke off.")


def down() -> ModelError:
    return ModelError("model_unreachable", "Nobody answers.")


def refused() -> ModelError:
    return ModelError("model_refused_request", "No.")


def text(*texts: str) -> list[Piece]:
    return [Delta(piece) for piece in texts]
