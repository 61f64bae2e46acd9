"""One turn in a worker: read the conversation, ask the model, write the answer and its end.

`Turn.run` runs the attempt until it ends, is lost to another worker, or is cancelled. `Turn._decide` chooses between a
new answer and one that an earlier worker began. `Turn._relay` writes the pieces that the model yields.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog

from midsentence.errors import FencedError, LostTailError
from midsentence.events import Delta, End, Entry, Failure, Reasoning, Reset, Start, Usage
from midsentence.fold import Fold
from midsentence.ids import LAST_TAKEOVER_EPOCH
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Message, Model, Takeover
from midsentence_worker.models.errors import RETRYABLE, ErrorCode, ModelError
from midsentence_worker.models.tokens import estimated_usage
from midsentence_worker.prompt import prompt
from midsentence_worker.turn_writer import TurnWriter

_CANCEL_SECONDS = 5

_Result = TypeVar("_Result")

_logger = structlog.get_logger()


class TurnServices(NamedTuple):
    """What all turns of a worker share."""

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
        """Take the turn to its end, unless another worker takes it over.

        Cancelled, it ends the upstream call and releases the turn for the next worker. Raises StoreUnavailableError
        before anything was written.
        """
        try:
            end = await _until(self.writer.lost, self._answer())
        except asyncio.CancelledError:
            await self._jobs.release(self._claim.lease, counts=False)
            raise
        else:
            if end is None:
                await self._give_up(self.writer.lost.result())
        finally:
            self.writer.close()

    async def _give_up(self, why: Exception) -> None:
        lease = self._claim.lease
        _logger.warning("turn_lost", session=lease.session_id, turn=lease.turn, why=str(why))
        if isinstance(why, FencedError):
            return
        # A lost tail is no failure of this turn. A defect counts as an attempt, or the turn would be retried for ever.
        await self._jobs.release(lease, counts=not isinstance(why, LostTailError))
        if not isinstance(why, LostTailError):
            _logger.error("turn_abandoned", session=lease.session_id, turn=lease.turn, error=repr(why))

    async def _answer(self) -> End:
        view = await self._log.read(self._claim.lease.session_id)
        fold = view.fold or Fold()
        self.writer.begin(fold)
        if not self._resumes_upstream:
            await self._cancel_upstream(self._claim.mark)
        end = await self._decide(fold)
        await self.writer.end(end)
        return end

    async def _decide(self, fold: Fold) -> End:
        if self._claim.stop:
            # The worker before died before it wrote the stop. The partial answer stays, and so does what it cost.
            answer = Answer(partial_answer(fold.messages(), self._claim.lease.turn), "")
            return End("stopped", answer.estimated_usage(self._prompt(fold)))
        if self._is_exhausted:
            lost = self._claim.attempt - 1
            return _failed("attempts_exhausted", f"{lost} workers were lost while they answered this; ask again.")
        if self._takeover == "fail":
            return _failed("worker_lost", "The worker was lost while it answered this; ask again.")
        return await self._resumed(fold)

    async def _resumed(self, fold: Fold) -> End:
        """Continue the answer of an earlier attempt where the takeover allows it, or begin a new one."""
        asked = self._prompt(fold)
        partial = partial_answer(fold.messages(), self._claim.lease.turn)
        start = Start(self._claim.lease.turn, self._claim.attempt, self._model.name)
        try:
            if self._takeover == "reattach" and self._claim.mark:
                self.writer.add(start)
                return await self._streamed(asked, partial, self._claim.mark)
            if self._takeover == "continue" and partial:
                self.writer.add(start)
                # The log holds the reasoning that led to the partial answer. A server that reasons again before it
                # continues would repeat it, so further reasoning is dropped.
                reasoned = has_reasoning(fold.messages(), self._claim.lease.turn)
                messages = [*asked, Message("assistant", partial)]
                return await self._streamed(messages, partial, drop_reasoning=reasoned)
        except CannotResumeError as error:
            _logger.warning("takeover_refused", session=self._claim.lease.session_id, error=str(error))
        if self._claim.seq > 0:
            self.writer.add(Reset(self._claim.attempt, "another worker took over"))
        self.writer.add(start)
        return await self._streamed(asked)

    def _prompt(self, fold: Fold) -> list[Message]:
        return prompt(
            conversation(fold.messages(), self._claim.lease.turn),
            system_prompt=self._settings.system_prompt,
            budget=self._settings.context_tokens,
        )

    @property
    def _resumes_upstream(self) -> bool:
        """Whether the answer that an earlier attempt left running at the provider is still of use."""
        return self._takeover == "reattach" and not self._claim.stop and not self._is_exhausted

    @property
    def _is_exhausted(self) -> bool:
        return self._claim.attempt > self._settings.max_attempts or self._claim.lease.epoch > LAST_TAKEOVER_EPOCH

    @property
    def _takeover(self) -> Takeover:
        if self._claim.seq == 0:
            return "restart"
        return self._model.takeover

    async def _streamed(
        self, asked: Sequence[Message], partial: str = "", mark: str = "", *, drop_reasoning: bool = False
    ) -> End:
        """Write the model's answer behind `partial` until it ends, fails or is stopped.

        Raises CannotResumeError before anything was written.
        """
        answer = Answer(partial, mark)
        try:
            end = await _until(self.writer.stopped, self._relay(asked, answer, drop_reasoning=drop_reasoning))
            if end is not None:
                return end
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
        return End("error", answer.estimated_usage(asked), failure)

    async def _relay(self, asked: Sequence[Message], answer: "Answer", *, drop_reasoning: bool) -> End:
        async with contextlib.aclosing(self._model.stream(asked, answer.mark)) as stream:
            async for piece in stream:
                match piece:
                    case Delta(text):
                        answer.texts.append(text)
                        self.writer.add(piece)
                    case Reasoning():
                        if not drop_reasoning:
                            self.writer.add(piece)
                    case Mark(value):
                        answer.mark = value
                        self.writer.reached(value)
                    case Finish(reason, usage):
                        return End(reason, usage or answer.estimated_usage(asked))
                if self.writer.is_full:
                    await self.writer.drain()
        raise ModelError("model_truncated", "The model's answer broke off before its end: ask again.")

    async def _cancel_upstream(self, mark: str) -> None:
        """End the upstream answer that a mark belongs to. Without a mark, closing the connection has ended it."""
        if not mark:
            return
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._model.cancel(mark)
        except (ModelError, TimeoutError) as error:
            _logger.warning("upstream_not_cancelled", session=self._claim.lease.session_id, error=str(error))


class Answer:
    """The text of an answer so far, with that of an earlier attempt, and the position in the provider's stream."""

    def __init__(self, partial: str, mark: str) -> None:
        self.texts = [partial] if partial else []
        self.mark = mark

    def estimated_usage(self, asked: Sequence[Message]) -> Usage | None:
        return estimated_usage(asked, "".join(self.texts)) if self.texts else None


def partial_answer(entries: Sequence[Entry], turn: int) -> str:
    """The text that an unfinished attempt wrote."""
    return next((entry.text for entry in entries if entry.turn == turn and entry.role == "assistant"), "")


def has_reasoning(entries: Sequence[Entry], turn: int) -> bool:
    return any(entry.turn == turn and bool(entry.reasoning) for entry in entries)


def conversation(entries: Sequence[Entry], turn: int) -> list[Message]:
    """The branch from the first message to this turn's own message, which is the last; no partial answer to it."""
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


def _failed(code: ErrorCode, message: str) -> End:
    return End("error", None, Failure(code, message, RETRYABLE[code]))


async def _until(event: asyncio.Future[Any], work: Coroutine[Any, Any, _Result]) -> _Result | None:
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
