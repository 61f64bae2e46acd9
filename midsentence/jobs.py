"""Turns that wait for a worker, and the leases on those that run. All times are on Redis' clock."""

import random
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from midsentence import keys
from midsentence.ids import EventId
from midsentence.lease import Lease
from midsentence.store.store import Call, Script, Store

_CLAIM = Script("claim", behind=("common", "ids", "epochs", "announcements"))
_TRIM = Script("trim", behind=("common",))
_RENEW = Script("renew")
_RELEASE = Script("release")

# Enough to empty a backlog in a few sweeps, few enough that no script holds Redis up.
_TRIMS_A_SWEEP = 100


class Claim(NamedTuple):
    """A turn that this worker may write from now on. `seq` is where the log stands; `attempt` counts from 1.

    `mark` is where the model's own stream stood when the worker before wrote last, or empty.
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
        """Where the number of a session is announced that has a job."""
        return [partition.wake for partition in self._partitions]

    async def claim(self, worker: str, model: str, limit: int) -> list[Claim]:
        """Take up to `limit` turns that wait or whose lease ran out. Readers are told that `model` answers."""
        claims: list[Claim] = []
        found = True
        # Until a whole round finds nothing, since a partition gives no more than its share in one.
        while found and len(claims) < limit:
            found = False
            # In another order each time: the partition that always came first would starve the rest.
            waiting = random.sample(self._partitions, len(self._partitions))
            while waiting and (free := limit - len(claims)):
                asked, waiting = waiting[:free], waiting[free:]
                taken = await self._claim(worker, model, asked, free // len(asked))
                claims += taken
                found = found or bool(taken)
        return claims

    async def _claim(
        self, worker: str, model: str, partitions: Sequence[keys.PartitionKeys], share: int
    ) -> list[Claim]:
        calls = [Call(_CLAIM, part[:3], (part.prefix, worker, self._lease, share, model)) for part in partitions]
        return [
            Claim(
                Lease(session_id.decode(), turn, epoch, worker), EventId.of(top).seq, attempt, bool(stop), mark.decode()
            )
            for reply in await self._store.run_all(calls)
            if not isinstance(reply, Exception)
            for session_id, turn, epoch, top, attempt, stop, mark in reply
        ]

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Prolong leases, and learn which turns are somebody else's by now, or to be stopped."""
        calls = [
            Call(
                _RENEW,
                keys.session(lease.session_id),
                (lease.session_id, lease.holder, lease.turn, self._lease),
            )
            for lease in leases
        ]
        # What Redis refused for now is not lost: the lease runs until somebody takes it.
        return [
            Renewal.HELD if isinstance(reply, Exception) else Renewal(reply)
            for reply in await self._store.run_all(calls)
        ]

    async def release(self, lease: Lease, *, counts: bool) -> None:
        """Give a turn back for another worker to take at once.

        A hand-over at a shutdown does not count as an attempt that failed.
        """
        arguments = (lease.session_id, lease.holder, int(counts))
        await self._store.run(Call(_RELEASE, keys.session(lease.session_id), arguments))

    async def trim(self) -> int:
        """Let go of the deltas of turns that ended longer than MIDSENTENCE_REPLAY_SECONDS ago.

        Returns of how many sessions.
        """
        calls = [Call(_TRIM, part[:3], (part.prefix, _TRIMS_A_SWEEP)) for part in self._partitions]
        return sum(reply for reply in await self._store.run_all(calls) if isinstance(reply, int))
