"""Claimable turns and the leases on running ones. All times are on the clock of Redis."""

import random
import time
from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any, NamedTuple

import structlog

from midsentence.errors import StoreUnavailableError
from midsentence.ids import EventId
from midsentence.lease import Lease
from midsentence.store.node import lacks_right, no_right
from midsentence.store.scripts import Script
from midsentence.store.store import Store
from midsentence.unreadable import read_text

_CLAIM = Script("claim", behind=("common", "ids", "epochs", "announcements"))
_TRIM = Script("trim", behind=("common",))
_RENEW = Script("renew")
_RELEASE = Script("release")
_NAME_MODEL = Script("name_model")

# Enough to work off a backlog in a few sweeps, few enough that no script blocks Redis for long.
_TRIMS_PER_SWEEP = 100
# Sessions whose keys are not as they should be are logged at most this often.
_REPORT_SECONDS = 60.0

_logger = structlog.get_logger()


class Claim(NamedTuple):
    """A turn that this worker may now write.

    `seq` is that of the log's last event, 0 where only the message is there. `attempt` counts from 1. `stop`: a stop
    was asked for already. `mark` is the last `Write.mark` of the previous worker, or empty. `model` is the model that
    answers: the one that the message names if this worker has it, else its default.
    """

    lease: Lease
    seq: int
    attempt: int
    stop: bool = False
    mark: str = ""
    model: str = ""


class Renewal(Enum):
    LOST = 0
    HELD = 1
    STOP = 2


class Jobs:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._report_broken_at = 0.0
        self._ttl = int(store.settings.session_ttl * 1000)
        self._lease = int(store.settings.lease_seconds * 1000)
        self._partitions = [store.keys.partition(number) for number in range(store.settings.partitions)]

    @property
    def partitions(self) -> range:
        """The numbers of all partitions, as `keys.partition_of` gives them."""
        return range(len(self._partitions))

    @property
    def wake_channels(self) -> list[str]:
        """The channels on which ids of sessions with claimable turns are published."""
        return [partition.wake for partition in self._partitions]

    async def claim(
        self,
        worker: str,
        model: str,
        limit: int,
        partitions: Collection[int] | None = None,
        *,
        others: Collection[str] = (),
    ) -> list[Claim]:
        """Claim up to `limit` turns that wait or whose lease expired. Readers see `Claim.model` in `state`.

        `model` is the worker's default, `others` are the names of its other models.
        `partitions` are those to ask, by default all. Fewer claims than `limit` mean that they have no more. Raises
        StoreUnavailableError where none of them can be asked.
        """
        claims: list[Claim] = []
        trouble: StoreUnavailableError | None = None
        is_answered = False
        # The order is random, or the first partition would starve the others.
        numbers = self.partitions if partitions is None else partitions
        waiting = [self._partitions[number] for number in random.sample([*numbers], len(numbers))]
        while waiting and (free := limit - len(claims)) > 0:
            asked, waiting = waiting[:free], waiting[free:]
            share = free // len(asked)
            requests = [
                _CLAIM.request(part[:3], (part.prefix, worker, self._lease, share, model, *others)) for part in asked
            ]
            for part, reply in zip(asked, await self._store.execute_all(requests), strict=True):
                if isinstance(reply, StoreUnavailableError):
                    trouble = reply
                    continue
                if isinstance(reply, Exception):
                    _logger.error("partition_unclaimable", jobs=part.jobs, error=str(reply))
                    continue
                claimed, broken = reply
                is_answered |= not broken or bool(claimed)
                claims += [_claimed(worker, each) for each in claimed]
                for session_id, error in broken:
                    trouble = self._broken(session_id.decode(), error.decode(errors="replace")) or trouble
                if len(claimed) + len(broken) == share:
                    # It may have more.
                    waiting.append(part)
        if trouble is not None and not is_answered:
            raise trouble
        return claims

    def _broken(self, session_id: str, error: str) -> StoreUnavailableError | None:
        """Log that a session cannot be claimed. Returns the error where the reason is this process's user of Redis."""
        if lacks_right(error):
            return no_right(error)
        if (now := time.monotonic()) >= self._report_broken_at:
            self._report_broken_at = now + _REPORT_SECONDS
            _logger.error("session_unclaimable", session=session_id, error=error)
        return None

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Prolong leases. Each reply says whether the lease is lost, held, or held with a stop asked for."""
        requests = [
            _RENEW.request(
                self._store.keys.session(lease.session_id),
                (lease.session_id, lease.holder, lease.turn, self._lease, self._ttl),
            )
            for lease in leases
        ]
        # An error does not lose the lease: it is held until another worker claims the turn.
        return [
            Renewal.HELD if isinstance(reply, Exception) else Renewal(reply)
            for reply in await self._store.run_all(requests)
        ]

    async def name_model(self, lease: Lease, model: str) -> bool:
        """Show readers another model than the claim named, because that one answers now.

        Returns False where another worker holds the lease. Raises StoreUnavailableError.
        """
        request = _NAME_MODEL.request(self._store.keys.session(lease.session_id), (lease.holder, model))
        return bool(await self._store.run(request))

    async def release(self, lease: Lease, *, counts: bool, attempts: int = 0) -> None:
        """Give a turn back, so that another worker can claim it at once.

        `counts`: whether this was a failed attempt; a hand-over at a shutdown is none. `attempts`: how many count at
        least.
        """
        arguments = (lease.session_id, lease.holder, int(counts), self._ttl, attempts)
        await self._store.run(_RELEASE.request(self._store.keys.session(lease.session_id), arguments))

    async def trim(self) -> int:
        """Trim the deltas of turns that ended more than MIDSENTENCE_REPLAY_SECONDS ago.

        Returns the number of sessions that were due.
        """
        requests = [_TRIM.request(part[:3], (part.prefix, _TRIMS_PER_SWEEP)) for part in self._partitions]
        return sum(reply for reply in await self._store.run_all(requests) if isinstance(reply, int))


def _claimed(worker: str, reply: Any) -> Claim:
    """Decode one claim of lua/claim.lua. The script gives numbers and ids, whatever the session's hash holds."""
    name, turn, epoch, top, attempt, stop, mark, model = reply
    session_id = name.decode()
    lease = Lease(session_id, turn, epoch, worker)
    mark = read_text(mark, session_id, "mark")
    return Claim(lease, EventId.of(top).seq, attempt, bool(stop), mark, model.decode())
