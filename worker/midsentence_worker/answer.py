"""The answer of a turn: one attempt after the other, until one of them ends it.

An attempt fails where its model is down, refuses, or breaks off. `recovery` says which model is asked next, and
`Answer._way` how it takes the turn up: it goes on reading the same response, continues the text, or begins anew. A
worker that takes a turn over from a dead one finds the attempt of that worker in the log, and goes on from it like from
one of its own.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal, NamedTuple

import structlog

from midsentence.breakers import Breakers
from midsentence.errors import StoreUnavailableError
from midsentence.events import Delta, End, Entry, Failure, Reasoning, Reset, Start, Usage
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.attempt import Attempt
from midsentence_worker.cancellation import until
from midsentence_worker.conversation import conversation, partial_answer
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Message, Model
from midsentence_worker.models.errors import RETRYABLE, ErrorCode, ModelError
from midsentence_worker.models.tokens import estimated_usage
from midsentence_worker.progress import Progress, total
from midsentence_worker.prompt import prompt
from midsentence_worker.recovery import Limits, Recovery, Step
from midsentence_worker.title_maker import TitleMaker
from midsentence_worker.turn_writer import TurnWriter

_CANCEL_SECONDS = 5
# Of a pause, so that turns that broke together are not taken up together.
_JITTER = 0.25


_Way = Literal["reattach", "continue", "restart"]

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
        self._number = progress.attempt or claim.attempt - 1
        self._first_model = progress.model if progress.model in chain else chain[0]
        # The model that readers see in `state`, at first the one that the claim named.
        self._named = chain[0]
        # Stands before a position in each mark that is stored.
        self._prefix = ""
        # Why the next attempt discards the text of the one before.
        self._why = ""
        # The attempt that readers see, at first that of an earlier worker. None where nothing was written yet.
        self._attempt: Attempt | None = None
        if claim.seq > 0:
            written = partial_answer(entries, turn)
            before = written.text[: progress.before]
            self._attempt = Attempt(
                self._models[self._first_model],
                [*self._asked, Message("assistant", before)] if before else self._asked,
                before=before,
                texts=[text] if (text := written.text[progress.before :]) else [],
                thoughts=[written.reasoning] if written.reasoning else [],
                mark=mark if progress.model in {"", self._first_model} else "",
                is_inherited=True,
            )
        # Whether readers have, or had, text or reasoning of this turn.
        self._has_text = self._attempt is not None and self._attempt.is_shown

    @property
    def takeover(self) -> str:
        """How the model that was asked last takes up an answer that another worker began."""
        return self._models[self._first_model].takeover

    async def failed(self, code: ErrorCode, message: str) -> End:
        """End the turn without another attempt."""
        return await self._given_up(Failure(code, message, RETRYABLE[code]))

    async def stopped(self) -> End:
        """End the turn as stopped. What was written of it stays, and so does what it cost."""
        await self._cancel_upstream(self._attempt)
        return End("stopped", self._usage())

    async def ended(self) -> End:
        """Ask until the answer has ended, failed for good, or was stopped."""
        try:
            end = await until(self._writer.stopped, self._attempts())
        except Exception:
            lease = self._claim.lease
            _logger.exception("turn_failed", session=lease.session_id, turn=lease.turn)
            return await self.failed("internal", "The worker failed at this answer; its log says why. Ask again.")
        return await self.stopped() if end is None else end

    async def _attempts(self) -> End:
        loop = asyncio.get_running_loop()
        why, failure = "another worker took over", None
        step: Step | None = Step(self._first_model, loop.time())
        while step is not None:
            await _pause(step.at - loop.time())
            name = step.model
            if (wait := await self._breakers.admit(name)) > 0:
                failure = failure or self._passed_over(name, wait)
                step = self._recovery.passed_over(name, wait, loop.time(), has_text=self._has_text)
                continue
            attempt = await self._begun(self._models[name], why, heals=failure is not None)
            if attempt is None:
                break
            outcome = await self._tried(attempt)
            if isinstance(outcome, End):
                return outcome
            if outcome is None:
                attempt.can_resume = False
                self._number -= 1
                continue
            failure, why = outcome, outcome.reason
            if self._has_text and attempt.model.takeover == "fail":
                break
            step = self._recovery.after(name, failure, loop.time(), broke=attempt.has_begun, has_text=self._has_text)
        assert failure is not None  # noqa: S101 - without a failure there is a step
        return await self._given_up(Failure(failure.code, failure.message, failure.retryable))

    async def _tried(self, attempt: Attempt) -> End | ModelError | None:
        """Run an attempt to its end or its failure; None where its model cannot resume the answer.

        The circuit breaker is told what came of it.
        """
        name = attempt.model.name
        try:
            return await self._relay(attempt)
        except CannotResumeError as error:
            self._log("takeover_refused", name, str(error))
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

    async def _begun(self, model: Model, why: str, *, heals: bool) -> Attempt | None:
        """Begin the next attempt, or return None where its tokens exceed the limit.

        `why` tells readers why the text that they have is discarded. `heals`: an attempt of this worker failed before.
        """
        last = self._attempt
        way = self._way(model, last)
        attempt = self._next_attempt(model, last, way)
        if last is not None:
            attempt.repeated = self._repeated(last, way) if heals else 0
            if not self._recovery.pay(attempt.repeated):
                return None
            if way != "reattach":
                await self._leave(last)
        self._number += 1
        self._recovery.asked(model.name)
        self._why = why
        # Text that readers have is discarded when the new attempt has brought a piece, and stays if it brings none.
        if last is None or way != "restart" or not last.is_shown:
            await self._show(attempt)
        return attempt

    async def _show(self, attempt: Attempt) -> None:
        """Write the beginning of an attempt, so that what follows in the log is its own."""
        last, self._attempt = self._attempt, attempt
        if last is not None and (last.is_shown or last.is_inherited) and not (attempt.before or attempt.is_resumed):
            self._writer.add(Reset(self._number, self._why))
        self._writer.add(Start(self._claim.lease.turn, self._number, attempt.model.name))
        # The first attempt needs no progress: without one, it is the first.
        if last is not None or attempt.model.name != self._named:
            retries, repeated = self._recovery.attempts, self._recovery.tokens
            spent = tuple(self._spent)
            progress = Progress(self._number, attempt.model.name, spent, len(attempt.before), retries, repeated)
            self._prefix = progress.prefix()
            self._writer.reached(self._prefix + attempt.mark)
        if attempt.model.name != self._named:
            await self._name(attempt.model.name)

    def _way(self, model: Model, last: Attempt | None) -> _Way:
        is_same = last is not None and model is last.model
        if last is None or (is_same and not last.can_resume):
            return "restart"
        if is_same and model.takeover == "reattach" and last.mark:
            return "reattach"
        return "continue" if model.takeover == "continue" and last.text else "restart"

    def _next_attempt(self, model: Model, last: Attempt | None, way: _Way) -> Attempt:
        if last is None or way == "restart":
            return Attempt(model, self._asked)
        if way == "continue":
            asked = [*self._asked, Message("assistant", last.text)]
            return Attempt(model, asked, before=last.text, has_reasoning=last.has_reasoning or bool(last.thoughts))
        return Attempt(
            model,
            self._asked,
            before=last.before,
            texts=last.texts,
            thoughts=last.thoughts,
            mark=last.mark,
            has_reasoning=last.has_reasoning,
        )

    def _repeated(self, last: Attempt, way: _Way) -> int:
        """Estimate the tokens that were paid for already and are paid for again."""
        if way == "reattach" or not last.is_shown:
            return 0
        if way == "continue":
            return estimated_usage([*self._asked, Message("assistant", last.text)], "").input_tokens
        usage = estimated_usage(self._asked, "".join(last.thoughts) + last.text)
        return usage.input_tokens + usage.output_tokens

    async def _leave(self, attempt: Attempt) -> None:
        """An attempt is over: note its usage, and end what the provider may still be writing for it."""
        if attempt.is_over:
            return
        attempt.is_over = True
        if (usage := attempt.usage()) is not None:
            self._spent.append(usage)
        await self._cancel_upstream(attempt)

    async def _relay(self, attempt: Attempt) -> End:
        """Write the pieces of an attempt until its end. Raises ModelError, CannotResumeError."""
        writer, texts = self._writer, attempt.texts
        # The log has the reasoning that led to the text. A server that reasons again before it continues would repeat
        # it.
        drops_reasoning = bool(attempt.before) and attempt.has_reasoning
        async with contextlib.aclosing(attempt.model.stream(attempt.asked, attempt.mark)) as stream:
            async for piece in stream:
                if self._attempt is not attempt:
                    await self._show(attempt)
                match piece:
                    case Delta(text):
                        texts.append(text)
                        writer.add(piece)
                    case Reasoning(text):
                        if not drops_reasoning:
                            attempt.thoughts.append(text)
                            writer.add(piece)
                    case Mark(value):
                        attempt.mark = value
                        writer.reached(self._prefix + value)
                        continue
                    case Finish(reason, usage):
                        return End(reason, self._usage(usage))
                if not attempt.has_begun:
                    attempt.has_begun = self._has_text = True
                    await self._breakers.succeeded(attempt.model.name)
                if writer.is_full:
                    await writer.drain()
        raise ModelError("model_truncated", "The model's answer broke off before its end: ask again.")

    async def _given_up(self, failure: Failure) -> End:
        await self._cancel_upstream(self._attempt)
        return End("error", self._usage(), failure)

    def _usage(self, reported: Usage | None = None) -> Usage | None:
        """What all attempts cost; `reported` is the provider's figure for the last one."""
        attempt = self._attempt
        last = None if attempt is None or attempt.is_over else attempt.usage(reported)
        return total(self._spent if last is None else [*self._spent, last])

    async def _cancel_upstream(self, attempt: Attempt | None) -> None:
        """End the response that an attempt's mark belongs to. Without a mark, closing the connection has ended it."""
        if attempt is None or not attempt.mark:
            return
        mark, attempt.mark = attempt.mark, ""
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await attempt.model.cancel(mark)
        except CannotResumeError:
            pass  # the mark of another kind of model
        except (ModelError, TimeoutError) as error:
            self._log("upstream_not_cancelled", attempt.model.name, str(error))

    async def _name(self, model: str) -> None:
        """Tell readers which model answers. The answer does not depend on it."""
        self._named = model
        try:
            await self._jobs.name_model(self._claim.lease, model)
        except StoreUnavailableError as error:
            self._log("model_not_named", model, str(error))

    def _passed_over(self, model: str, wait: float) -> ModelError:
        """The failure of a turn that may not ask a model: what failed at that model last, and when to ask again."""
        last = self._breakers.failure(model)
        sentence = f"{model} failed several times just now: ask again in {ceil(wait)} seconds."
        return ModelError("model_unreachable", f"{sentence} ({last.message})" if last else sentence)

    def _log(self, event: str, model: str, why: str, detail: str = "") -> None:
        lease = self._claim.lease
        more = {"detail": detail} if detail else {}
        _logger.warning(event, session=lease.session_id, turn=lease.turn, model=model, why=why, **more)


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds * random.uniform(1, 1 + _JITTER))  # noqa: S311
