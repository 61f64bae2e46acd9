"""A worker: claims turns, runs many at once, renews their leases, and hands the rest over when it shuts down."""

import asyncio
import contextlib
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from time import thread_time

import structlog

from midsentence import announcements, keys
from midsentence.breakers import Breakers
from midsentence.errors import FencedError, StoreUnavailableError, StoreUnusableError
from midsentence.jobs import Claim, Jobs, Renewal
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.inspection import Inspection
from midsentence.store.store import Store
from midsentence.store.subscriptions import Subscriptions
from midsentence.unreadable import passed_over
from midsentence_worker.answer import TurnServices
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.load import LoadMeter
from midsentence_worker.models.base import Model
from midsentence_worker.title_maker import TitleMaker
from midsentence_worker.turn import Turn

# How often a worker asks all partitions for turns to claim: a wake-up may be lost, and none announces an expired lease.
_SWEEP_SECONDS = 1.0
_TRIM_SECONDS = 5.0
# Of a crowd of new turns, this many are claimed at once. The first worker would take all of it otherwise, while the
# others have nothing to do: of 60 turns, one of four workers took 43, and one took none.
_CLAIMS_AT_ONCE = 8
# A lease is renewed this many times in its duration, so that one lost renewal costs nothing.
_RENEWALS = 3
# How often the worker measures its load, and how often at most it logs that it is overloaded.
_LOAD_SECONDS = 0.25
_LOAD_LOG_SECONDS = 60.0

_logger = structlog.get_logger()


class Worker:
    def __init__(self, settings: Settings, store: Store, models: Mapping[str, Model]) -> None:
        """`models` are all models by name, in the order of the list: the first is the default."""
        self._settings = settings
        self._models = models
        self._model = next(iter(models.values()))
        self._other_models = [*models][1:]
        self._log = SessionLog(store)
        self._jobs = Jobs(store)
        self._live = Subscriptions(store)
        self._inspection = Inspection(store)
        self._batcher = AppendBatcher(self._log, settings.flush_ms / 1000)
        self._breakers = Breakers(store, models)
        titling = settings.title_model
        self._titles = TitleMaker(models[titling], self._log, self._breakers) if titling is not None else None
        self._services = TurnServices(
            settings, models, self._breakers, self._log, self._jobs, self._batcher, self._titles
        )
        self._turns: dict[asyncio.Task[None], Turn] = {}
        self._wake_up = asyncio.Event()
        self._load = LoadMeter()
        self._load_logged_at = -_LOAD_LOG_SECONDS
        # The partitions that may have a turn to claim.
        self._to_claim: set[int] = set()
        self._draining = False
        # When Redis last confirmed a renewal, by the loop's clock.
        self._renewed_at = 0.0
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def subscribed(self) -> None:
        # Wake-ups may have been lost.
        self._to_claim.update(self._jobs.partitions)
        self._wake_up.set()

    def interrupted(self) -> None:
        pass  # it polls for claimable turns meanwhile

    def batch_end(self) -> None:
        pass

    def published(self, payload: bytes) -> None:
        try:
            wake = announcements.decode_wake(payload)
        except ValueError:
            passed_over("", "wake-up")
            return
        if wake.is_stop:
            for turn in self._turns.values():
                if turn.writer.lease.session_id == wake.session_id:
                    turn.writer.stop()
        else:
            self._to_claim.add(keys.partition_of(wake.session_id))
            self._wake_up.set()

    def drain(self) -> None:
        """Claim nothing more. `run` returns when all running turns have ended or were handed over."""
        self._draining = True
        self._wake_up.set()

    async def run(self) -> None:
        for model in self._models.values():
            await model.warm_up()
        self._live.listen(self._jobs.wake_channels, self)
        duties = [
            asyncio.create_task(self._inspection.run()),
            asyncio.create_task(self._live.run()),
            asyncio.create_task(self._batcher.run()),
            asyncio.create_task(self._breakers.run()),
            asyncio.create_task(self._every(self._renew, self._settings.lease_seconds / _RENEWALS)),
            asyncio.create_task(self._every(self._trim, _TRIM_SECONDS)),
            asyncio.create_task(self._measure_load()),
        ]
        try:
            await self._claim_until_drained()
            await self._hand_over()
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            if self._titles is not None:
                await self._titles.aclose()
            await self._inspection.aclose()
            await self._live.aclose()

    async def _claim_until_drained(self) -> None:
        reachable = None
        sweep_at = 0.0
        while not self._draining:
            self._wake_up.clear()
            if (now := asyncio.get_running_loop().time()) >= sweep_at:
                # Random, so that workers do not all sweep at the same moment.
                sweep_at = now + _SWEEP_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311
                self._to_claim.update(self._jobs.partitions)
            try:
                await self._inspection.require()
                if reachable is False:
                    await self._let_renew()
                elif self._stood_still():
                    await self._renew()
                await self._claim()
                if not reachable:
                    _logger.info("redis_answers", worker=self.name, model=self._model.name)
                reachable = True
            except StoreUnusableError as error:
                self._inspection.report(error)
                reachable = False
            except StoreUnavailableError as error:
                if reachable is not False:
                    _logger.warning("waiting_for_redis", error=str(error))
                reachable = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(sweep_at):
                    await self._wake_up.wait()

    async def _let_renew(self) -> None:
        """After an outage, renew this worker's leases and give the others time to renew theirs.

        All leases may have expired while nobody could renew them, though their turns still run. Taken over at once,
        each of those answers would be paid for twice.
        """
        await self._renew()
        await asyncio.sleep(self._settings.lease_seconds / _RENEWALS)

    def _stood_still(self) -> bool:
        """Whether this process did not run for so long that its own leases may have expired.

        Renewed before the next claim, they are still its own unless another worker claimed them. Otherwise it would
        take its own turns over.
        """
        return asyncio.get_running_loop().time() - self._renewed_at > self._settings.lease_seconds / 2

    async def _claim(self) -> None:
        free = self._settings.worker_concurrency - len(self._turns)
        room = self._load.room(len(self._turns))
        if room is not None:
            free = min(free, room)
        if free <= 0 or not self._to_claim:
            return
        asked, self._to_claim = self._to_claim, set()
        is_sweep = len(asked) == len(self._jobs.partitions)
        # A sweep asks all partitions in one round trip, and each for its share of this limit.
        limit = free if is_sweep else min(free, _CLAIMS_AT_ONCE)
        try:
            claims = await self._jobs.claim(self.name, self._model.name, limit, asked, others=self._other_models)
        except StoreUnavailableError:
            self._to_claim.update(self._jobs.partitions)
            if is_sweep:
                raise
            # Only all of them tell an outage from one node of a cluster that is gone.
            self._wake_up.set()
            return
        if len(claims) == limit:
            # They may have more, for which there may be no room yet.
            self._to_claim |= asked
            if limit < free:
                self._wake_up.set()
        for claim in claims:
            self._begin(claim)

    def _begin(self, claim: Claim) -> None:
        turn = Turn(claim, self._services)
        task = asyncio.create_task(turn.run())
        self._turns[task] = turn
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        turn = self._turns.pop(task)
        self._wake_up.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease expires, and another worker takes the turn over.
            _logger.error(
                "turn_abandoned", session=turn.writer.lease.session_id, turn=turn.writer.lease.turn, error=repr(error)
            )

    async def _hand_over(self) -> None:
        running = set(self._turns)
        if running:
            _logger.info("draining", turns=len(running), seconds=self._settings.drain_seconds)
            _, running = await asyncio.wait(running, timeout=self._settings.drain_seconds)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
            _logger.info("handed_over", turns=len(running))

    async def _renew(self) -> None:
        turns = list(self._turns.values())
        if turns:
            renewals = await self._jobs.renew([turn.writer.lease for turn in turns])
            for turn, renewal in zip(turns, renewals, strict=True):
                if renewal is Renewal.STOP:
                    turn.writer.stop()
                elif renewal is Renewal.LOST:
                    turn.writer.lose(FencedError("the lease is another worker's, or the session is gone"))
        self._renewed_at = asyncio.get_running_loop().time()

    async def _measure_load(self) -> None:
        loop = asyncio.get_running_loop()
        time, cpu = loop.time(), thread_time()
        while True:
            await asyncio.sleep(_LOAD_SECONDS)
            now, spent = loop.time(), thread_time()
            self._load.sample(now - time, spent - cpu, now - time - _LOAD_SECONDS)
            time, cpu = now, spent
            if self._load.is_overloaded and self._turns and now - self._load_logged_at >= _LOAD_LOG_SECONDS:
                self._load_logged_at = now
                _logger.warning(
                    "worker_overloaded",
                    worker=self.name,
                    turns=len(self._turns),
                    busy=round(self._load.busy, 2),
                    late_ms=round(self._load.late * 1000),
                    advice="it claims no turns until it is less busy: start another worker",
                )

    async def _trim(self) -> None:
        await self._jobs.trim()

    async def _every(self, duty: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await duty()
            except StoreUnavailableError as error:
                _logger.debug("duty_put_off", error=str(error))
