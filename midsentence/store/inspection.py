"""The look at Redis before it is used: what is missing is said in one sentence, and not found by the first message.

It is looked at again when a connection was made anew, which may lead to another server, and when a right was found
missing. Until a look finds nothing, servers refuse messages and workers claim no turns.
"""

import asyncio
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import structlog
from redis.exceptions import NoPermissionError, RedisError

from midsentence.errors import StoreUnavailableError, StoreUnusableError
from midsentence.redis_url import RedisUrl
from midsentence.store.node import Node, lacks_right
from midsentence.store.pipeline import Pipeline
from midsentence.store.scripts import Request, Script, command
from midsentence.store.store import Store, address

OLDEST_VERSION = 7
_PROBE = Script("probe", behind=("common",))
_CONNECT_SECONDS = 5.0
_AOF_MILLISECONDS = 1
# How often it is checked whether something changed; then the pauses between looks at a Redis that cannot be used.
_POLL_SECONDS = 1.0
_BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0)
# A request may ask for a look of its own where the last one is older than this.
_STALE_SECONDS = 1.0
_REMINDER_SECONDS = 60.0
# Redis' words for a command that it does not have: sent by a client, and called in a script.
_UNKNOWN = re.compile(r"unknown (redis )?command", re.IGNORECASE)

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
                pass  # whoever needs Redis reports this
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
        info = _sections(replies[0])
        failed = [
            *_failures(zip(("SCRIPT LOAD", "EVALSHA", "PING", "SET"), replies[1:5], strict=False)),
            *subscribed,
        ]
        failed += _failed_in_script(replies[2])
        found = (
            _old(info)
            or (None if self._has_passed else _replica(info, failed))
            or _unknown(failed)
            or self._without_rights(failed)
            or (None if settings.allow_eviction else _evicting(info))
            or (_volatile(info, replies[5]) if settings.durable else None)
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
        failed = _failures(zip(tried, replies, strict=True))
        return self._without_rights(failed)

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
        return _failures((name, reply) for (name, _), reply in zip(tried, replies, strict=True))

    def _without_rights(self, failed: Iterable[tuple[str, str]]) -> StoreUnusableError | None:
        lacking = [(name, error) for name, error in failed if lacks_right(error)]
        if not lacking:
            return None
        rules: dict[str, None] = {}
        for name, error in lacking:
            if "channel" in error:
                rules[f"&{self._store.settings.namespace}:*"] = None
            elif "key" in error:
                # The rule for all keys, and the command: a selector may give it for some keys alone.
                rules[f"~{self._store.settings.namespace}:*"] = None
                if name != "EVALSHA":
                    rules[f"+{name.lower()}"] = None
            else:
                rules["+" + name.lower().replace(" ", "|")] = None
        user = _user(self._store.settings.redis_url)
        return StoreUnusableError(
            f"The user {user} of Redis lacks rights: run `ACL SETUSER {user} {' '.join(rules)}` there, or see the "
            "section Redis of docs/operations.md."
        )


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


def _failures(replies: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """The names of the commands that failed, and Redis' words."""
    return [
        # redis-py takes the code away from an error for which it has a type.
        (name, f"NOPERM {reply}" if isinstance(reply, NoPermissionError) else str(reply))
        for name, reply in replies
        if isinstance(reply, Exception)
    ]


def _failed_in_script(reply: Any) -> list[tuple[str, str]]:
    """The failures that lua/probe.lua replies, where it ran."""
    if isinstance(reply, Exception):
        return []
    return [(name.decode(), error.decode(errors="replace")) for name, error in reply]


def _sections(info: Any) -> dict[str, str]:
    """The fields of INFO; none where the user may not ask for it."""
    lines = info.decode(errors="replace").splitlines() if isinstance(info, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _old(info: Mapping[str, str]) -> StoreUnusableError | None:
    version = info.get("redis_version", "")
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) >= OLDEST_VERSION:
        return None
    return StoreUnusableError(f"Redis {version} is too old: use Redis or Valkey {OLDEST_VERSION} or newer.")


def _replica(info: Mapping[str, str], failed: Iterable[tuple[str, str]]) -> StoreUnusableError | None:
    if info.get("role") != "slave" and not any("read only replica" in error for _, error in failed):
        return None
    return StoreUnusableError(
        "Redis is a replica, which cannot be written to: put its primary into MIDSENTENCE_REDIS_URL, or its sentinels, "
        "as redis+sentinel://."
    )


def _unknown(failed: Iterable[tuple[str, str]]) -> StoreUnusableError | None:
    names = sorted({name for name, error in failed if _UNKNOWN.search(error)})
    if not names:
        return None
    return StoreUnusableError(
        f"Redis does not know {', '.join(names)}: use Redis or Valkey {OLDEST_VERSION} or newer, with all its commands."
    )


def _evicting(info: Mapping[str, str]) -> StoreUnusableError | None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or info.get("maxmemory", "0") == "0":
        return None
    return StoreUnusableError(
        f"Redis removes keys, and so conversations, when its memory is full (maxmemory-policy {policy}): set "
        "maxmemory-policy noeviction, or MIDSENTENCE_ALLOW_EVICTION=1 where you accept that."
    )


def _volatile(info: Mapping[str, str], waited: Any) -> StoreUnusableError | None:
    """What MIDSENTENCE_DURABLE=1 lacks; `waited` is the reply to WAITAOF."""
    if isinstance(waited, Exception) and _UNKNOWN.search(str(waited)):
        return StoreUnusableError("MIDSENTENCE_DURABLE=1 needs WAITAOF: use Redis or Valkey 7.2 or newer, or unset it.")
    if info.get("aof_enabled") == "0" or isinstance(waited, Exception):
        return StoreUnusableError(
            "MIDSENTENCE_DURABLE=1 needs an append-only file: set `appendonly yes` in Redis, or unset it."
        )
    return None


def _refuse_now(node: Node, failed: Iterable[tuple[str, str]]) -> None:
    """Raise what is no lack, but a state that passes: its disk is full, it is busy, a slot is being moved."""
    for name, error in failed:
        raise StoreUnavailableError(f"Redis at {node.address} refuses {name}: {error}")


def _user(url: str) -> str:
    parsed = RedisUrl.parse(url)
    return unquote(parsed.user.rpartition("@")[0].partition(":")[0]) or parsed.options.get("username") or "default"
