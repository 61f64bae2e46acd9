"""One turn in a worker: read the conversation, have the model answer, write the answer's end.

`Turn.run` runs the turn until it ends, is lost to another worker, or is cancelled. `answer.Answer` makes the attempts.
"""

import asyncio

import structlog

from midsentence.errors import FencedError, LostTailError
from midsentence.events import End
from midsentence.fold import Fold
from midsentence.ids import LAST_TAKEOVER_EPOCH
from midsentence.jobs import Claim
from midsentence_worker.answer import Answer, TurnServices
from midsentence_worker.cancellation import until
from midsentence_worker.turn_writer import TurnWriter

_logger = structlog.get_logger()


class Turn:
    def __init__(self, claim: Claim, services: TurnServices) -> None:
        self._claim = claim
        self._services = services
        self.writer = TurnWriter(claim.lease, claim.seq, services.batcher)

    async def run(self) -> None:
        """Take the turn to its end, unless another worker takes it over.

        Cancelled, it ends the upstream call and releases the turn for the next worker. Raises StoreUnavailableError
        before anything was written.
        """
        try:
            end = await until(self.writer.lost, self._answer())
        except asyncio.CancelledError:
            await self._services.jobs.release(self._claim.lease, counts=False)
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
        await self._services.jobs.release(lease, counts=not isinstance(why, LostTailError))
        if not isinstance(why, LostTailError):
            _logger.error("turn_abandoned", session=lease.session_id, turn=lease.turn, error=repr(why))

    async def _answer(self) -> End:
        claim = self._claim
        view = await self._services.log.read(claim.lease.session_id)
        fold = view.fold or Fold()
        answer = Answer(claim, fold.messages(), self.writer, self._services)
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
