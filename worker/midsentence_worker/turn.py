"""One turn's life in a worker: read the conversation, ask the model, write its answer, end."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog

from midsentence.errors import FencedError, LostTailError
from midsentence.events import Delta, End, Entry, Failure, Reasoning, Reset, Start, Usage
from midsentence.fold import Fold
from midsentence.ids import LAST_TAKEOVER_EPOCH
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.models import base as pieces
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Message, Model, Takeover
from midsentence_worker.models.errors import RETRYABLE, ErrorCode, ModelError
from midsentence_worker.models.tokens import estimated_usage
from midsentence_worker.prompt import prompt
from midsentence_worker.turn_writer import TurnWriter

_CANCEL_SECONDS = 5

_logger = structlog.get_logger()


class TurnServices(NamedTuple):
    """What every turn of a worker works with."""

    settings: Settings
    model: Model
    log: SessionLog
    jobs: Jobs
    batcher: AppendBatcher


class Turn:
    def __init__(self, claim: Claim, services: TurnServices) -> None:
        self._claim = claim
        self._settings, self._model, self._log, self._jobs, batcher = services
        self.writer = TurnWriter(claim.lease, claim.seq, batcher)

    async def run(self) -> None:
        """Take the turn to its end, unless it is taken away. Raises StoreUnavailableError before anything was written.

        Cancelled, it lets go of the model and gives the turn to the next worker.
        """
        answering = asyncio.create_task(self._answer())
        try:
            await asyncio.wait({answering, self.writer.lost}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _cancelled(answering)
            await self._jobs.release(self._claim.lease, counts=False)
            raise
        if answering.done():
            await answering
            return
        await _cancelled(answering)
        await self._give_up(self.writer.lost.result())

    async def _give_up(self, why: Exception) -> None:
        _logger.warning("turn_lost", session=self._claim.lease.session_id, turn=self._claim.lease.turn, why=str(why))
        if not isinstance(why, FencedError):
            # A defect counts as an attempt, or it would come round for ever; a lost tail is nobody's fault.
            await self._jobs.release(self._claim.lease, counts=not isinstance(why, LostTailError))
            if not isinstance(why, LostTailError):
                raise why

    async def _answer(self) -> None:
        view = await self._log.read(self._claim.lease.session_id)
        fold = view.fold or Fold()
        self.writer.begin(fold)
        if not self._goes_on:
            await self._cancel_upstream(self._claim.mark)
        if self._claim.stop:
            # Whoever stops a turn whose worker died keeps what was said, and what that cost.
            said = Answer(partial(fold.messages(), self._claim.lease.turn), "")
            await self.writer.end(End("stopped", said.estimated_usage(self._asked(fold))))
        elif self._is_exhausted:
            tried = f"{self._claim.attempt - 1} workers were lost while they answered this; ask again."
            await self.writer.end(_failed("attempts_exhausted", tried))
        elif self._takeover == "fail":
            await self.writer.end(_failed("worker_lost", "The worker was lost while it answered this; ask again."))
        else:
            await self.writer.end(await self._resumed(fold))

    async def _resumed(self, fold: Fold) -> End:
        """Go on with what an earlier attempt began, or begin anew, and return how it ended."""
        asked = self._asked(fold)
        said = partial(fold.messages(), self._claim.lease.turn)
        start = Start(self._claim.lease.turn, self._claim.attempt, self._model.name)
        try:
            if self._takeover == "reattach" and self._claim.mark:
                self.writer.add(start)
                return await self._streamed(asked, said, self._claim.mark)
            if self._takeover == "continue" and said:
                self.writer.add(start)
                # What was thought stands in the log, and the text that followed from it; a server that thinks again
                # before it goes on would say the same twice.
                thought = has_reasoning(fold.messages(), self._claim.lease.turn)
                return await self._streamed([*asked, Message("assistant", said)], said, thought=thought)
        except CannotResumeError as error:
            _logger.warning("takeover_refused", session=self._claim.lease.session_id, error=str(error))
        if self._claim.seq > 0:
            self.writer.add(Reset(self._claim.attempt, "another worker took over"))
        self.writer.add(start)
        return await self._streamed(asked)

    def _asked(self, fold: Fold) -> list[Message]:
        return prompt(
            conversation(fold.messages(), self._claim.lease.turn),
            system_prompt=self._settings.system_prompt,
            budget=self._settings.context_tokens,
        )

    @property
    def _goes_on(self) -> bool:
        """Whether what an earlier attempt left running at the provider is still of use."""
        return self._takeover == "reattach" and not self._claim.stop and not self._is_exhausted

    @property
    def _is_exhausted(self) -> bool:
        return self._claim.attempt > self._settings.max_attempts or self._claim.lease.epoch > LAST_TAKEOVER_EPOCH

    @property
    def _takeover(self) -> Takeover:
        if self._claim.seq == 0:
            return "restart"
        return self._model.takeover if self._settings.takeover == "auto" else self._settings.takeover

    async def _streamed(
        self, asked: Sequence[Message], said: str = "", mark: str = "", *, thought: bool = False
    ) -> End:
        """Write what the model says after what was `said` until it ends or is stopped, and return how it ended."""
        answer = Answer(said, mark)
        relaying = asyncio.create_task(self._relayed(asked, answer, thought=thought))
        try:
            await asyncio.wait({relaying, self.writer.stopped}, return_when=asyncio.FIRST_COMPLETED)
            if relaying.done():
                return await relaying
            await _cancelled(relaying)
            await self._cancel_upstream(answer.mark)
            return End("stopped", answer.estimated_usage(asked))
        except ModelError as error:
            failure = Failure(error.code, error.message, error.retryable)
        except CannotResumeError:
            raise
        except Exception:
            _logger.exception("turn_failed", session=self._claim.lease.session_id, turn=self._claim.lease.turn)
            failure = Failure(
                "internal", "The worker failed at this answer; its log says why. Ask again.", RETRYABLE["internal"]
            )
        finally:
            await _cancelled(relaying)
        return End("error", answer.estimated_usage(asked), failure)

    async def _relayed(self, asked: Sequence[Message], answer: "Answer", *, thought: bool) -> End:
        async with contextlib.aclosing(self._model.stream(asked, answer.mark)) as stream:
            async for piece in stream:
                match piece:
                    case pieces.Text(text):
                        answer.pieces.append(text)
                        self.writer.add(Delta(text))
                    case pieces.Reasoning(text):
                        if not thought:
                            self.writer.add(Reasoning(text))
                    case Mark(value):
                        answer.mark = value
                        self.writer.reached(value)
                    case Finish(reason, usage):
                        return End(reason, _usage(usage) if usage else answer.estimated_usage(asked))
        raise ModelError("model_truncated", "The model's answer broke off before its end: ask again.")

    async def _cancel_upstream(self, mark: str) -> None:
        """Closing the connection ends most calls; one that runs in the provider's background must be told."""
        if not mark:
            return
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._model.cancel(mark)
        except (ModelError, TimeoutError) as error:
            _logger.warning("upstream_not_cancelled", session=self._claim.lease.session_id, error=str(error))


class Answer:
    """What an attempt knows of its answer: its text, an earlier attempt's included, and where the provider stands."""

    def __init__(self, said: str, mark: str) -> None:
        self.pieces = [said] if said else []
        self.mark = mark

    def estimated_usage(self, asked: Sequence[Message]) -> Usage | None:
        return _usage(estimated_usage(asked, "".join(self.pieces))) if self.pieces else None


def partial(entries: Sequence[Entry], turn: int) -> str:
    """Find what an unfinished attempt said."""
    return next((entry.text for entry in entries if entry.turn == turn and entry.role == "assistant"), "")


def has_reasoning(entries: Sequence[Entry], turn: int) -> bool:
    return any(entry.turn == turn and bool(entry.reasoning) for entry in entries)


def conversation(entries: Sequence[Entry], turn: int) -> list[Message]:
    """Find the path from the first message to this turn's own, which is the last.

    What an unfinished attempt said is not part of it.
    """
    parents = {entry.turn: entry.parent for entry in entries}
    path: set[int] = set()
    step = turn
    while step and step not in path:
        path.add(step)
        step = parents.get(step, 0)
    return [
        Message(entry.role, entry.text)
        for entry in entries
        if entry.turn in path and (entry.turn != turn or entry.role == "user")
    ]


def _usage(usage: pieces.Usage) -> Usage:
    return Usage(usage.input_tokens, usage.output_tokens, usage.source)


def _failed(code: ErrorCode, message: str) -> End:
    return End("error", None, Failure(code, message, RETRYABLE[code]))


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
