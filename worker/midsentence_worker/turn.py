"""One turn in a worker: read the conversation, have the model answer, write the answer's end.

`Turn.run` runs the turn until it ends, is lost to another worker, or is cancelled. `answer.Answer` makes the attempts.
A turn of which something cannot be written ends with `internal`, once.
"""

import asyncio

import structlog

from midsentence.errors import FencedError, LostTailError, StoreUnavailableError
from midsentence.events import End, Failure
from midsentence.fold import Fold
from midsentence.ids import LAST_TAKEOVER_EPOCH
from midsentence.jobs import Claim
from midsentence_worker.answer import Answer, TurnServices
from midsentence_worker.cancellation import until
from midsentence_worker.models.errors import RETRYABLE
from midsentence_worker.turn_writer import TurnWriter

_logger = structlog.get_logger()


class Turn:
    def __init__(self, claim: Claim, services: TurnServices) -> None:
        self._claim = claim
        self._services = services
        self._begun: Answer | None = None
        self.writer = TurnWriter(claim.lease, claim.seq, services.batcher)

    async def run(self) -> None:
        """Take the turn to its end, unless another worker takes it over.

        Cancelled, it ends the upstream call and releases the turn for the next worker. Raises StoreUnavailableError
        before anything was written.
        """
        try:
            why = await self._lost()
            if why is not None:
                await self._give_up(why)
        except asyncio.CancelledError:
            await self._services.jobs.release(self._claim.lease, counts=False)
            raise
        finally:
            self.writer.close()

    async def _lost(self) -> str | None:
        """Answer the turn. Returns why it cannot be written, or None where it has ended or is another worker's."""
        try:
            if await until(self.writer.lost, self._answer()) is not None:
                return None
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, asking the model again would not help
            return _words(error)
        why = self.writer.lost.result()
        lease = self._claim.lease
        if isinstance(why, FencedError | LostTailError):
            _logger.warning("turn_lost", session=lease.session_id, turn=lease.turn, why=str(why))
            if isinstance(why, LostTailError):
                # It is no failure of this turn.
                await self._services.jobs.release(lease, counts=False)
            elif self._begun is not None and await self._services.log.heads([lease.session_id]) == [None]:
                # The session was deleted, so no other worker cancels what runs at the provider.
                await self._begun.stopped()
            return None
        return _words(why)

    async def _give_up(self, why: str) -> None:
        """End the turn with `internal`, where an event of it cannot be encoded or Redis refuses it for good.

        What the log has of the answer stays. The model is not asked again. Where not even the end can be written, no
        worker asks the model: all attempts count as spent, and the end is tried again when a lease ends.
        """
        lease, services = self._claim.lease, self._services
        _logger.error("turn_unwritable", session=lease.session_id, turn=lease.turn, error=why)
        try:
            refused = await self._end_with_internal()
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the log can be neither read nor written
            refused = _words(error)
        if refused is None:
            return
        _logger.error("turn_abandoned", session=lease.session_id, turn=lease.turn, error=refused)
        if not self._is_exhausted:
            await services.jobs.release(lease, counts=True, attempts=services.settings.max_attempts)

    async def _end_with_internal(self) -> str | None:
        """Write the end behind what the log has. Returns why it cannot be written, or None."""
        lease = self._claim.lease
        self.writer.close()
        view = await self._services.log.read(lease.session_id)
        self.writer = TurnWriter(lease, view.top.seq, self._services.batcher)
        self.writer.begin(view.fold or Fold())
        message = "The worker could not write this answer; its log says why. Ask again."
        end = End("error", None, Failure("internal", message, RETRYABLE["internal"]))
        if self._begun is not None:
            end = await self._begun.failed("internal", message)
        if await until(self.writer.lost, self._written(end)) is not None:
            return None
        why = self.writer.lost.result()
        return None if isinstance(why, FencedError | LostTailError) else _words(why)

    async def _written(self, end: End) -> End:
        await self.writer.end(end)
        return end

    async def _answer(self) -> End:
        claim = self._claim
        view = await self._services.log.read(claim.lease.session_id)
        fold = view.fold or Fold()
        answer = self._begun = Answer(claim, fold.messages(), self.writer, self._services)
        self.writer.begin(fold)
        end = await self._ended(answer)
        await self.writer.end(end)
        if (titles := self._services.titles) is not None:
            titles.begin(claim.lease.session_id, view, self.writer.messages(), claim.lease.turn)
        return end

    async def _ended(self, answer: Answer) -> End:
        if self._claim.stop:
            # The worker before died before it wrote the stop.
            return await answer.stopped()
        if self._is_exhausted:
            lost = self._claim.attempt - 1
            return await answer.failed(
                "attempts_exhausted", f"{lost} workers were lost while they answered this; ask again."
            )
        if self._claim.seq > 0 and answer.takeover == "fail":
            return await answer.failed("worker_lost", "The worker was lost while it answered this; ask again.")
        return await answer.ended()

    @property
    def _is_exhausted(self) -> bool:
        maximum = self._services.settings.max_attempts
        return self._claim.attempt > maximum or self._claim.lease.epoch > LAST_TAKEOVER_EPOCH


def _words(error: BaseException) -> str:
    """What happened, without the text that an error of encoding holds in its arguments."""
    return f"{type(error).__name__}: {error}"
