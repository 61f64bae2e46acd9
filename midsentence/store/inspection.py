"""The look at Redis before it is used: what is missing is said in one sentence, and not found by the first message.

It is looked at again when a connection was made anew, which may lead to another server, and when a right was found
missing. Until a look finds nothing, servers refuse messages and workers claim no turns.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from redis.exceptions import RedisError

from midsentence.errors import StoreUnavailableError, StoreUnusableError
from midsentence.store import requirements
from midsentence.store.node import Node
from midsentence.store.pipeline import Pipeline
from midsentence.store.scripts import Request, Script, command
from midsentence.store.store import Store, address

_PROBE = Script("probe", behind=("common",))
_CONNECT_SECONDS = 5.0
_AOF_MILLISECONDS = 1
# How often it is checked whether something changed; then the pauses between looks at a Redis that cannot be used.
_POLL_SECONDS = 1.0
_BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0)
# A request may ask for a look of its own where the last one is older than this.
_STALE_SECONDS = 1.0
_REMINDER_SECONDS = 60.0

_logger = structlog.get_logger()


class Inspection:
    """What the looks of one process at its Redis have found."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = [store.keys.partition(number) for number in range(store.settings.partitions)]
        # Why Redis cannot be used; None where it can be.
        self.trouble: StoreUnavailableError | None = StoreUnavailableError("Redis was not looked at yet")
        self._has_passed = False
        self._looked_at = float("-inf")
        self._reported, self._reported_at = "", float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def require(self) -> None:
        """Return where Redis can be used. Raises StoreUnusableError, or StoreUnavailableError where it cannot be asked.

        It costs nothing after a look that found nothing.
        """
        if self.trouble is None:
            return
        if asyncio.get_running_loop().time() - self._looked_at > _STALE_SECONDS:
            await self.look()
            return
        # A new one: several callers must not share a traceback.
        raise type(self.trouble)(str(self.trouble))

    async def look(self) -> None:
        """Look now, or wait for the look that is running. Raises as `require`."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        # Shielded: a caller that is cancelled must not stop the look for the others.
        await asyncio.shield(self._looking)

    async def run(self) -> None:
        """Look until Redis can be used, and again whenever something changed; log what is found."""
        failures = 0
        is_unusable = False
        while True:
            try:
                await self.look()
            except StoreUnusableError as error:
                is_unusable = True
                self.report(error)
            except StoreUnavailableError:
                pass  # the caller that needs Redis reports it
            else:
                if is_unusable:
                    _logger.info("store_usable", redis=address(self._store.settings))
                failures, is_unusable = 0, False
                await self._wait_for_a_change()
                continue
            await asyncio.sleep(_BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)])
            failures += 1

    async def aclose(self) -> None:
        """Give up the look that is running, whose connection would stay open."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def report(self, error: StoreUnusableError) -> None:
        """Log what Redis lacks: once, again when it is something else, and else once a minute."""
        now = asyncio.get_running_loop().time()
        if str(error) != self._reported or now - self._reported_at >= _REMINDER_SECONDS:
            self._reported, self._reported_at = str(error), now
            _logger.warning("store_unusable", error=str(error), redis=address(self._store.settings))

    async def _wait_for_a_change(self) -> None:
        known = self._changes()
        while self._changes() == known:  # noqa: ASYNC110 - an event would have to be set on the way of each request
            await asyncio.sleep(_POLL_SECONDS)

    def _changes(self) -> frozenset[tuple[object, int]]:
        """What differs wherever another server may have the keys, or a right was found missing."""
        nodes = {*self._store.servers([names.jobs for names in self._names])}
        return frozenset((node, node.changes) for node in nodes if isinstance(node, Node))

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        self._looked_at = task.get_loop().time()
        if not task.cancelled():
            task.exception()  # every caller may be gone

    async def _look(self) -> None:
        try:
            trouble = await self._found()
        except StoreUnavailableError as error:
            # A Redis that does not answer now is no other than before.
            if not self._has_passed or isinstance(error, StoreUnusableError):
                self.trouble = error
            raise
        self.trouble = trouble
        if trouble is not None:
            raise trouble
        self._has_passed = True

    async def _found(self) -> StoreUnusableError | None:
        """Look at every server that has a partition, and at the keys that are in none."""
        partitions: dict[Node, int] = {}
        unserved: StoreUnavailableError | None = None
        for number, names in enumerate(self._names):
            try:
                partitions.setdefault(await self._store.node(names.jobs), number)
            except StoreUnavailableError as error:
                unserved = error
        if not partitions and unserved is not None:
            raise unserved
        looks = [self._look_at(node, number) for node, number in partitions.items()]
        *found, owners = await asyncio.gather(*looks, self._look_at_owners(), return_exceptions=True)
        for each in (*found, owners):
            if isinstance(each, StoreUnusableError):
                return each
            if isinstance(each, BaseException) and not isinstance(each, StoreUnavailableError):
                raise each
        # A cluster that lacks a master serves the sessions of the others. It is looked at when it answers again.
        failed = [each for each in found if each is not None]
        if len(failed) == len(found):
            raise failed[0]
        return None

    async def _look_at(self, node: Node, partition: int) -> StoreUnusableError | None:
        settings = self._store.settings
        session_id = f"{partition:02x}{secrets.token_urlsafe(17)[:22]}"
        names = self._store.keys.session(session_id)
        probe = _PROBE.request(names, (session_id, int(settings.session_ttl * 1000)))
        requests = [command("INFO"), command("SCRIPT LOAD", _PROBE.body), probe, command("PING")]
        if settings.durable:
            mark = self._store.keys.fsync_mark(session_id)
            requests += [command("SET", mark, "", "PX", 60_000), command("WAITAOF", 1, 0, _AOF_MILLISECONDS)]
        subscribing = asyncio.create_task(self._subscribed(node, (names.live, names.wake)))
        try:
            replies = await node.execute(requests)
            subscribed = await subscribing
        finally:
            # It is not left behind where the other fails: its connection would stay open.
            subscribing.cancel()
            await asyncio.gather(subscribing, return_exceptions=True)
        info = requirements.sections(replies[0])
        failed = [
            *requirements.failures(zip(("SCRIPT LOAD", "EVALSHA", "PING", "SET"), replies[1:5], strict=False)),
            *subscribed,
        ]
        failed += requirements.failed_in_script(replies[2])
        found = (
            requirements.old(info)
            or (None if self._has_passed else requirements.replica(info, failed))
            or requirements.unknown(failed)
            or requirements.without_rights(failed, settings)
            or (None if settings.allow_eviction else requirements.evicting(info))
            or (requirements.volatile(info, replies[5]) if settings.durable else None)
        )
        if found is None:
            _refuse_now(node, failed)
        return found

    async def _look_at_owners(self) -> StoreUnusableError | None:
        """Try the plain commands on keys that are in the slots of no partition."""
        store = self._store
        lifetime = int(store.settings.session_ttl * 1000)
        owned = store.keys.owned_sessions(secrets.token_urlsafe(9))
        # None of them finds its key, so they change nothing.
        tried = {
            "ZADD": (command("ZADD", owned, "XX", 0, "")),
            "PEXPIRE": (command("PEXPIRE", owned, lifetime)),
            "ZREVRANGE": (command("ZREVRANGE", owned, 0, 0)),
            "ZREM": (command("ZREM", owned, "")),
            "HMGET": (command("HMGET", owned, "owner")),
        }
        if store.settings.secret is None:
            tried["GET"] = command("GET", store.keys.secret)
        replies = await _answered(store, [*tried.values()])
        failed = requirements.failures(zip(tried, replies, strict=True))
        return requirements.without_rights(failed, store.settings)

    async def _subscribed(self, node: Node, channels: Iterable[str]) -> list[tuple[str, str]]:
        """Try to subscribe, over a connection of its own: a subscribed one takes no other commands."""
        tried = [(name, channel) for channel in channels for name in ("SSUBSCRIBE", "SUNSUBSCRIBE")]
        requests = [command(name, channel) for name, channel in tried]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                pipeline = Pipeline(await node.connect())
                try:
                    replies = await pipeline.exchange(b"".join(request.data for request in requests), len(requests))
                finally:
                    await pipeline.aclose()
        except (TimeoutError, RedisError, OSError) as error:
            refusal = node.refusal(error)
            if isinstance(refusal, StoreUnavailableError):
                raise refusal from error
            raise StoreUnavailableError(f"Redis at {node.address} refuses us: {error}") from error
        return requirements.failures((name, reply) for (name, _), reply in zip(tried, replies, strict=True))


async def _answered(store: Store, requests: Sequence[Request]) -> list[Any]:
    """The replies as Redis wrote them, errors included; those of servers that do not answer are None."""
    replies: list[Any] = [None] * len(requests)
    numbers: defaultdict[Node, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        with suppress(StoreUnavailableError):
            numbers[await store.node(request.key)].append(number)

    async def ask(node: Node, asked: Sequence[int]) -> None:
        with suppress(StoreUnavailableError):
            answers = await node.execute([requests[number] for number in asked])
            for number, answer in zip(asked, answers, strict=True):
                replies[number] = answer

    await asyncio.gather(*(ask(node, asked) for node, asked in numbers.items()))
    return replies


def _refuse_now(node: Node, failed: Iterable[tuple[str, str]]) -> None:
    """Raise what is no lack, but a state that passes: its disk is full, it is busy, a slot is being moved."""
    for name, error in failed:
        raise StoreUnavailableError(f"Redis at {node.address} refuses {name}: {error}")
