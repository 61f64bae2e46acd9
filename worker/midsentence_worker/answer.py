"""The answer of a turn: one attempt after the other, until one of them ends it.

An attempt fails where its model is down, refuses, or breaks off. `recovery` says which model is asked next, and
`Answer._planned` how it takes the turn up: it goes on reading the same response, continues the text, or begins anew. A
worker that takes a turn over from a dead one finds the attempt of that worker in the log, and goes on from it like from
one of its own.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

import structlog

from midsentence.breakers import Breakers
from midsentence.errors import StoreUnavailableError
from midsentence.events import Delta, End, EndReason, Entry, Failure, Reasoning, Reset, Start
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.attempt import Attempt
from midsentence_worker.cancellation import until
from midsentence_worker.conversation import PartialAnswer, conversation, partial_answer
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Message, Model
from midsentence_worker.models.errors import RETRYABLE, ErrorCode, ModelError
from midsentence_worker.models.tokens import estimated_usage
from midsentence_worker.progress import Progress, Waiting, total
from midsentence_worker.prompt import prompt
from midsentence_worker.recovery import Limits, Recovery, Step
from midsentence_worker.title_maker import TitleMaker
from midsentence_worker.turn_writer import TurnWriter

_CANCEL_SECONDS = 5
# Of a pause, so that turns that broke together are not taken up together.
_JITTER = 0.25

_logger = structlog.get_logger()


class TurnServices(NamedTuple):
    """What all turns of a worker share."""

    settings: Settings
    models: Mapping[str, Model]
    breakers: Breakers
    log: SessionLog
    jobs: Jobs
    batcher: AppendBatcher
    titles: TitleMaker | None = None


class Answer:
    def __init__(
        self,
        claim: Claim,
        entries: Sequence[Entry],
        writer: TurnWriter,
        services: TurnServices,
    ) -> None:
        """`entries` is the conversation, with what earlier workers wrote of this answer."""
        settings, self._models, self._jobs = services.settings, services.models, services.jobs
        self._breakers = services.breakers
        self._claim = claim
        self._writer = writer
        turn = claim.lease.turn
        self._asked = prompt(
            conversation(entries, turn), system_prompt=settings.system_prompt, budget=settings.context_tokens
        )
        chain = [spec.name for spec in settings.model_list.chain(claim.model)]
        progress, mark = Progress.of(claim.mark)
        limits = Limits(settings.heal_attempts, settings.heal_tokens, settings.heal_pause_seconds)
        self._recovery = Recovery(chain, limits, attempts=progress.retries, tokens=progress.repeated)
        # What the attempts cost that are over.
        self._spent = list(progress.spent)
        # What empty answers cost since the attempt that readers see.
        self._spent_in_vain = list(progress.spent_in_vain)
        # The model that readers see in `state`, at first the one that the claim named.
        self._named = chain[0]
        # Stands before a position in each mark that is stored.
        self._prefix = ""
        # Why the text that readers have is discarded, if it is.
        self._why = "another worker took over"
        # The attempt that readers see, at first that of an earlier worker. None where nothing was written yet.
        self._attempt: Attempt | None = None
        # An attempt that has brought nothing yet, while readers have the text of another one.
        self._waiting: Attempt | None = None
        # Cancellations of responses, which nobody waits for before the turn ends.
        self._cancellations: set[asyncio.Task[None]] = set()
        if claim.seq > 0:
            self._attempt = self._inherited(progress, mark, partial_answer(entries, turn), chain[0])
            if progress.waiting is not None and (model := self._models.get(progress.waiting.model)) is not None:
                self._waiting = Attempt(model, self._asked, mark=progress.waiting.mark)
        # Whether readers have, or had, text or reasoning of this turn.
        self._has_text = self._attempt is not None and self._attempt.is_shown
        self._number = progress.attempt or max(claim.attempt - 1, int(claim.seq > 0))
        newest = self._waiting or self._attempt
        self._first_model = newest.model.name if newest is not None and newest.model.name in chain else chain[0]

    @property
    def takeover(self) -> str:
        """How the model that was asked last takes up an answer that another worker began."""
        return self._models[self._first_model].takeover

    async def failed(self, code: ErrorCode, message: str) -> End:
        """End the turn without another attempt."""
        return await self._end("error", Failure(code, message, RETRYABLE[code]))

    async def stopped(self) -> End:
        """End the turn as stopped. What was written of it stays, and so does what it cost."""
        return await self._end("stopped")

    async def ended(self) -> End:
        """Ask until the answer has ended, failed for good, or was stopped."""
        try:
            end = await until(self._writer.stopped, self._attempts())
        except Exception:
            lease = self._claim.lease
            _logger.exception("turn_failed", session=lease.session_id, turn=lease.turn)
            return await self.failed("internal", "The worker failed at this answer; its log says why. Ask again.")
        finally:
            await self._cancelled()
        return await self.stopped() if end is None else end

    def _inherited(self, progress: Progress, mark: str, written: PartialAnswer, first: str) -> Attempt:
        """The attempt of the worker before, as the log shows it."""
        model = self._models.get(progress.model or first)
        before = written.text[: progress.before]
        return Attempt(
            model or self._models[first],
            [*self._asked, Message("assistant", before)] if before else self._asked,
            before=before,
            reasoned=progress.reasoned,
            texts=[text] if (text := written.text[progress.before :]) else [],
            thoughts=[thought] if (thought := written.reasoning[progress.reasoned :]) else [],
            # Only its own model can use it.
            mark="" if model is None else mark,
            is_inherited=True,
        )

    async def _attempts(self) -> End:
        loop = asyncio.get_running_loop()
        failure: ModelError | None = None
        step: Step | None = Step(self._first_model, loop.time())
        while step is not None:
            await _pause(step.at - loop.time())
            name = step.model
            attempt = self._planned(self._models[name], heals=failure is not None)
            if not self._recovery.pay(attempt.repeated):
                break
            if (wait := await self._breakers.admit(name)) > 0:
                self._recovery.refund(attempt.repeated)
                failure = failure or self._passed_over(name, wait)
                step = self._recovery.passed_over(name, wait, loop.time(), has_text=self._has_text)
                continue
            outcome = await self._tried(attempt)
            if isinstance(outcome, End):
                return outcome
            if outcome is None:
                continue
            failure, self._why = outcome, outcome.reason
            if self._has_text and attempt.model.takeover == "fail":
                break
            step = self._recovery.after(name, failure, loop.time(), broke=attempt.has_begun, has_text=self._has_text)
            if self._has_text:
                self._store()
        assert failure is not None  # noqa: S101 - without a failure there is a step
        return await self._end("error", Failure(failure.code, failure.message, failure.retryable))

    def _planned(self, model: Model, *, heals: bool) -> Attempt:
        """The next attempt: one that is read on, one that continues the text, or one that begins anew.

        `heals`: an attempt of this worker failed before, so it counts what is paid for again.
        """
        for attempt in (self._waiting, self._attempt):
            if attempt is not None and attempt.model is model and attempt.can_be_read_on:
                attempt.resume()
                return attempt
        last = self._attempt
        if last is None:
            return Attempt(model, self._asked)
        repeated = 0
        if model.takeover == "continue" and last.text and (last.can_resume or last.model is not model):
            asked = [*self._asked, Message("assistant", last.text)]
            if heals:
                repeated = estimated_usage(asked, "").input_tokens
            return Attempt(model, asked, before=last.text, reasoned=last.reasoning_characters, repeated=repeated)
        if heals and last.is_shown:
            usage = estimated_usage(self._asked, "".join(last.thoughts) + last.text)
            repeated = usage.input_tokens + usage.output_tokens
        return Attempt(model, self._asked, repeated=repeated)

    async def _tried(self, attempt: Attempt) -> End | ModelError | None:
        """Run an attempt to its end or its failure; None where its model cannot resume the answer.

        The circuit breaker is told what came of it.
        """
        name = attempt.model.name
        try:
            await self._begin(attempt)
            return await self._relay(attempt)
        except CannotResumeError as error:
            if not attempt.goes_on:
                raise  # a defect: it was asked for a new answer
            self._log("takeover_refused", name, str(error))
            self._recovery.refund(attempt.repeated)
            attempt.can_resume = False
            return None
        except ModelError as error:
            self._log("attempt_failed", name, error.message, error.detail)
            if not attempt.has_begun:
                self._recovery.refund(attempt.repeated)
                if attempt.is_resumed and error.code == "model_failed":
                    attempt.can_resume = False  # the provider answers, and does not have the response any more
                if error.code != "model_refused_request":
                    failure = Failure(error.code, error.message, error.retryable)
                    await self._breakers.failed(name, failure, error.retry_after)
            # An exception that was raised holds this frame through its traceback. If the caller held it, the cycle
            # would keep the turn until the garbage collector runs.
            return error.unraised()
        finally:
            if not attempt.has_begun:
                await self._breakers.released(name)

    async def _begin(self, attempt: Attempt) -> None:
        """Count an attempt that is made now, and tell readers of it.

        Text that readers have is discarded when the new attempt has brought a piece, and stays if it brings none.
        """
        last = self._attempt
        self._number += 1
        self._recovery.asked(attempt.model.name)
        if last is None or last is attempt or attempt.before or not last.is_shown:
            self._show(attempt)
            await self._name(attempt.model.name)
            return
        if self._waiting is not attempt:
            self._leave(self._waiting)
            self._waiting = attempt
        self._store()

    def _show(self, attempt: Attempt) -> None:
        """Write the beginning of an attempt, so that what follows in the log is its own."""
        last, self._attempt = self._attempt, attempt
        waiting, self._waiting = self._waiting, None
        if waiting is not attempt:
            self._leave(waiting)
        if last is not attempt:
            self._leave(last)
        is_anew = last is not attempt and not attempt.before
        if is_anew and last is not None and (last.is_shown or last.is_inherited):
            self._writer.add(Reset(self._number, self._why))
        self._writer.add(Start(self._claim.lease.turn, self._number, attempt.model.name))
        # The first attempt needs no progress: without one, it is the first.
        if last is not None or attempt.model.name != self._named:
            self._store()

    def _store(self) -> None:
        """Store with the turn's mark what the attempts have come to, for a worker that takes the turn over."""
        attempt, waiting = self._attempt, self._waiting
        if attempt is None:
            return
        progress = Progress(
            self._number,
            attempt.model.name,
            tuple(self._spent),
            tuple(self._spent_in_vain),
            len(attempt.before),
            attempt.reasoned,
            self._recovery.attempts,
            self._recovery.tokens,
            Waiting(waiting.model.name, waiting.mark) if waiting is not None and waiting.mark else None,
        )
        self._prefix = progress.prefix()
        self._writer.reached(self._prefix + attempt.mark)

    def _leave(self, attempt: Attempt | None) -> None:
        """An attempt is over: note its usage, and end what the provider may still be writing for it."""
        if attempt is None or attempt.is_over:
            return
        attempt.is_over = True
        if (usage := attempt.usage()) is not None:
            self._spent.append(usage)
        if attempt.is_shown:
            self._spent += self._spent_in_vain
            self._spent_in_vain.clear()
        if attempt.mark:
            # In the background: a provider that is down would keep readers from the answer of another one.
            task = asyncio.create_task(self._cancel_upstream(attempt.model, attempt.mark))
            self._cancellations.add(task)
            task.add_done_callback(self._cancellations.discard)

    async def _relay(self, attempt: Attempt) -> End:
        """Write the pieces of an attempt until its end. Raises ModelError, CannotResumeError."""
        writer, texts = self._writer, attempt.texts
        # The log has the reasoning that led to the text. A server that reasons again before it continues would repeat
        # it.
        drops_reasoning = bool(attempt.before) and attempt.reasoned > 0
        async with contextlib.aclosing(attempt.model.stream(attempt.asked, attempt.mark)) as stream:
            async for piece in stream:
                if attempt is self._waiting and isinstance(piece, Delta | Reasoning):
                    self._show(attempt)
                match piece:
                    case Delta(text):
                        texts.append(text)
                        writer.add(piece)
                    case Reasoning(text) if drops_reasoning:
                        attempt.dropped.append(text)
                    case Reasoning(text):
                        attempt.thoughts.append(text)
                        writer.add(piece)
                    case Mark(value):
                        attempt.mark = value
                        self._reached(attempt)
                        continue
                    case Finish():
                        return await self._finished(attempt, piece)
                if not attempt.has_begun:
                    attempt.has_begun = self._has_text = True
                    await self._breakers.succeeded(attempt.model.name)
                    await self._name(attempt.model.name)
                if writer.is_full:
                    await writer.drain()
        raise ModelError("model_truncated", "The model's answer broke off before its end: ask again.")

    def _reached(self, attempt: Attempt) -> None:
        if attempt is self._waiting:
            self._store()
        else:
            self._writer.reached(self._prefix + attempt.mark)

    async def _finished(self, attempt: Attempt, finish: Finish) -> End:
        """Raises ModelError where the answer is empty and readers have text of another attempt."""
        attempt.reported, attempt.mark = finish.usage, ""
        name = attempt.model.name
        if attempt is self._waiting:
            self._waiting, attempt.is_over = None, True
            if (usage := attempt.usage()) is not None:
                self._spent_in_vain.append(usage)
            message = f"The model {name} sent an empty answer: ask again."
            raise ModelError("model_failed", message, reason=f"The model {name} sent an empty answer.")
        if not attempt.has_begun:
            await self._breakers.succeeded(name)
        return await self._end(finish.reason)

    async def _end(self, reason: EndReason, failure: Failure | None = None) -> End:
        """The end of the turn, when nothing runs at a provider any more. Its usage is that of all attempts."""
        self._leave(self._attempt)
        self._leave(self._waiting)
        await self._cancelled()
        return End(reason, total(self._spent), failure)

    async def _cancelled(self) -> None:
        if self._cancellations:
            await asyncio.wait(self._cancellations)

    async def _cancel_upstream(self, model: Model, mark: str) -> None:
        """End the response that a mark belongs to. Without a mark, closing the connection has ended it."""
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await model.cancel(mark)
        except CannotResumeError:
            pass  # the mark of another kind of model
        except Exception as error:  # noqa: BLE001 - whatever the provider replies, the turn goes on
            self._log("upstream_not_cancelled", model.name, str(error))

    async def _name(self, model: str) -> None:
        """Tell readers which model answers. The answer does not depend on it."""
        if model == self._named:
            return
        self._named = model
        try:
            await self._jobs.name_model(self._claim.lease, model)
        except StoreUnavailableError as error:
            self._log("model_not_named", model, str(error))

    def _passed_over(self, model: str, wait: float) -> ModelError:
        """The failure of a turn that may not ask a model: what failed at that model last, and when to ask again."""
        last = self._breakers.failure(model)
        sentence = f"The model {model} failed several times just now: ask again in {ceil(wait)} seconds."
        return ModelError("model_unreachable", f"{sentence} ({last.message})" if last else sentence)

    def _log(self, event: str, model: str, why: str, detail: str = "") -> None:
        lease = self._claim.lease
        more = {"detail": detail} if detail else {}
        _logger.warning(event, session=lease.session_id, turn=lease.turn, model=model, why=why, **more)


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds * random.uniform(1, 1 + _JITTER))  # noqa: S311
