"""Claimable turns and the leases on running ones. All times are on the clock of Redis."""

import random
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from midsentence import keys
from midsentence.ids import EventId
from midsentence.lease import Lease
from midsentence.store.scripts import Script
from midsentence.store.store import Store

_CLAIM = Script("claim", behind=("common", "ids", "epochs", "announcements"))
_TRIM = Script("trim", behind=("common",))
_RENEW = Script("renew")
_RELEASE = Script("release")

# Enough to work off a backlog in a few sweeps, few enough that no script blocks Redis for long.
_TRIMS_PER_SWEEP = 100


class Claim(NamedTuple):
    """A turn that this worker may now write.

    `seq` is that of the log's last event, 0 where only the message is there. `attempt` counts from 1. `stop`: a stop
    was asked for already. `mark` is the last `Write.mark` of the previous worker, or empty.
    """

    lease: Lease
    seq: int
    attempt: int
    stop: bool = False
    mark: str = ""


class Renewal(Enum):
    LOST = 0
    HELD = 1
    STOP = 2


class Jobs:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._lease = int(store.settings.lease_seconds * 1000)
        self._partitions = [keys.partition(number) for number in range(store.settings.partitions)]

    @property
    def wake_channels(self) -> list[str]:
        """The channels on which ids of sessions with claimable turns are published."""
        return [partition.wake for partition in self._partitions]

    async def claim(self, worker: str, model: str, limit: int) -> list[Claim]:
        """Claim up to `limit` turns that wait or whose lease expired. Readers see `model` in `state`.

        Raises StoreUnavailableError where no partition can be asked.
        """
        claims: list[Claim] = []
        found = True
        # A partition yields at most its share in a round, so repeat until a whole round yields nothing.
        while found and len(claims) < limit:
            found = False
            # The order is random, or the first partition would starve the others.
            remaining = random.sample(self._partitions, len(self._partitions))
            while remaining and (free := limit - len(claims)):
                asked, remaining = remaining[:free], remaining[free:]
                claimed = await self._claim(worker, model, asked, free // len(asked))
                claims += claimed
                found = found or bool(claimed)
        return claims

    async def _claim(
        self, worker: str, model: str, partitions: Sequence[keys.PartitionKeys], share: int
    ) -> list[Claim]:
        requests = [_CLAIM.request(part[:3], (part.prefix, worker, self._lease, share, model)) for part in partitions]
        return [
            Claim(
                Lease(session_id.decode(), turn, epoch, worker), EventId.of(top).seq, attempt, bool(stop), mark.decode()
            )
            for reply in await self._store.run_all(requests)
            if not isinstance(reply, Exception)
            for session_id, turn, epoch, top, attempt, stop, mark in reply
        ]

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Prolong leases. Each reply says whether the lease is lost, held, or held with a stop asked for."""
        requests = [
            _RENEW.request(
                keys.session(lease.session_id),
                (lease.session_id, lease.holder, lease.turn, self._lease),
            )
            for lease in leases
        ]
        # An error does not lose the lease: it is held until another worker claims the turn.
        return [
            Renewal.HELD if isinstance(reply, Exception) else Renewal(reply)
            for reply in await self._store.run_all(requests)
        ]

    async def release(self, lease: Lease, *, counts: bool) -> None:
        """Give a turn back, so that another worker can claim it at once.

        `counts`: whether this was a failed attempt; a hand-over at a shutdown is none.
        """
        arguments = (lease.session_id, lease.holder, int(counts))
        await self._store.run(_RELEASE.request(keys.session(lease.session_id), arguments))

    async def trim(self) -> int:
        """Trim the deltas of turns that ended more than MIDSENTENCE_REPLAY_SECONDS ago.

        Returns the number of sessions that were due.
        """
        requests = [_TRIM.request(part[:3], (part.prefix, _TRIMS_PER_SWEEP)) for part in self._partitions]
        return sum(reply for reply in await self._store.run_all(requests) if isinstance(reply, int))
