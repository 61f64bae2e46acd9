"""A cluster: which master serves which slot, how that is learnt, and how a request follows it.

Not redis-py's RedisCluster. Its pipeline fails for every node when it fails for one, and then drops the connections
that other callers wait on; it sends ASKING over one connection and the command over another; and its pool raises an
error where a caller should wait.
"""

import asyncio
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, TryAgainError

from midsentence.errors import StoreUnavailableError, StoreUnusableError
from midsentence.redis_url import HostPort
from midsentence.store.node import Node
from midsentence.store.scripts import Request, command

# How often a request follows the cluster's redirections: from an old owner to the new one, through a migration of its
# slot, and past a node that is gone.
_ROUNDS = 5
# While the keys of a slot migrate one by one, none of our scripts can run, since each names keys that do not exist. A
# small slot has migrated within this time; for any other the answer is "not now".
_TRY_AGAIN_SECONDS = 0.05
# The slot map is refreshed at most this often, however many callers meet a dead node.
_REFRESH_SECONDS = 0.5

_ASKING = command("ASKING")
_CLUSTER_INFO = command("CLUSTER INFO")
_CLUSTER_SLOTS = command("CLUSTER SLOTS")


@functools.lru_cache(maxsize=1024)
def _slot(key: str) -> int:
    """The slot of a key that is asked for again and again."""
    return key_slot(key.encode())


class _Target(NamedTuple):
    node: Node
    asking: bool


class _SlotMap(NamedTuple):
    is_whole: bool
    source: Node
    ranges: Any  # as CLUSTER SLOTS replies


class Cluster:
    def __init__(self, seeds: Sequence[HostPort], new_node: Callable[[HostPort], Node]) -> None:
        self._seeds = seeds
        self._new_node = new_node
        self._nodes: dict[HostPort, Node] = {}
        self._owners: dict[int, Node] = {}
        self._refreshing: asyncio.Task[bool] | None = None
        self._refreshed_at = float("-inf")
        self._why_unserved = f"no node of the cluster at {','.join(map(str, seeds))} answers"
        # What a person has to repair before a map can be learnt.
        self._lack = ""
        # Strong references: late answers of a refresh, and nodes that are being closed.
        self._background: set[asyncio.Task[Any]] = set()

    async def execute(self, requests: Sequence[Request]) -> list[Any]:
        """See `Topology`. All nodes are asked at the same time; the error of one is the reply to its own requests."""
        slots = [key_slot(request.key.encode()) for request in requests]
        replies: list[Any] = [None] * len(requests)
        redirected: dict[int, Node] = {}
        pending: Sequence[int] = range(len(requests))
        for _ in range(_ROUNDS):
            batches = await self._batches(pending, slots, redirected, replies)
            await asyncio.gather(*(_send(target, batch, requests, replies) for target, batch in batches.items()))
            redirected.clear()
            pending = await self._unanswered(batches, slots, redirected, replies)
            if not pending:
                break
        for number in pending:
            replies[number] = StoreUnavailableError(f"slot {slots[number]} is on its way from one node to another")
        return replies

    async def _batches(
        self, pending: Iterable[int], slots: Sequence[int], redirected: dict[int, Node], replies: list[Any]
    ) -> dict[_Target, list[int]]:
        batches: defaultdict[_Target, list[int]] = defaultdict(list)
        for number in pending:
            node = redirected.get(number)
            try:
                target = _Target(node, asking=True) if node else _Target(await self._owner(slots[number]), asking=False)
            except StoreUnavailableError as error:
                replies[number] = error
            else:
                batches[target].append(number)
        return batches

    async def _unanswered(
        self, batches: dict[_Target, list[int]], slots: Sequence[int], redirected: dict[int, Node], replies: list[Any]
    ) -> list[int]:
        """Find the requests that must be sent again; `redirected` gets the nodes of those that were answered ASK."""
        again: list[int] = []
        pause = False
        for (node, _), batch in batches.items():
            for number in batch:
                match replies[number]:
                    case MovedError() as error:
                        self.moved(node, error)
                    case AskError() as error:
                        redirected[number] = self._redirection(node, error)
                    case TryAgainError():
                        pause = True
                    case StoreUnavailableError():
                        if not await self._is_replaced(node, slots[number]):
                            continue
                    case Exception() as error:
                        replies[number] = node.refusal(error)
                        continue
                    case _:
                        continue
                again.append(number)
        if pause:
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
        return again

    def servers(self, keys: Sequence[str]) -> Sequence[object]:
        """See `Topology`. A slot that moves meanwhile is still followed: this names only who is asked first."""
        return [self._owners.get(_slot(key)) for key in keys]

    async def node(self, key: str) -> Node:
        return await self._owner(key_slot(key.encode()))

    async def ping(self) -> None:
        if not await self._refresh_once():
            raise StoreUnavailableError("the cluster is down: some of its slots are served by nobody")

    async def refresh(self) -> None:
        is_old = asyncio.get_running_loop().time() - self._refreshed_at > _REFRESH_SECONDS
        if self._refreshing is not None or is_old:
            await self._refresh_once()

    def moved(self, node: Node, error: Any) -> None:
        self._owners[error.slot_id] = self._redirection(node, error)

    async def aclose(self) -> None:
        tasks = [*self._background, *([self._refreshing] if self._refreshing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(node.aclose() for node in self._nodes.values()))

    async def _owner(self, slot: int) -> Node:
        node = self._owners.get(slot)
        if node is None:
            await self.refresh()
            node = self._owners.get(slot)
        if node is None:
            if self._lack:
                raise StoreUnusableError(self._lack)
            raise StoreUnavailableError(f"nobody serves slot {slot}: {self._why_unserved}")
        return node

    async def _is_replaced(self, node: Node, slot: int) -> bool:
        """Whether another node now serves a slot whose node does not answer."""
        if self._owners.get(slot) is node:
            await self.refresh()
        return self._owners.get(slot) not in (None, node)

    def _redirection(self, source: Node, error: Any) -> Node:
        # A node that does not know its own host name leaves it out: it means itself.
        return self._node_at(HostPort(error.host or self._address_of(source).host, error.port))

    def _node_at(self, address: HostPort) -> Node:
        if address not in self._nodes:
            self._nodes[address] = self._new_node(address)
        return self._nodes[address]

    def _address_of(self, node: Node) -> HostPort:
        return next(address for address, known in self._nodes.items() if known is node)

    async def _refresh_once(self) -> bool:
        """Refresh the slot map, or wait for the refresh that is running. Whether every slot is served."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._fetch_map())
            self._refreshing.add_done_callback(self._refreshed)
        # Shielded: a caller that is cancelled must not stop the refresh for the others.
        return await asyncio.shield(self._refreshing)

    def _refreshed(self, task: asyncio.Task[bool]) -> None:
        self._refreshing = None
        self._refreshed_at = task.get_loop().time()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._why_unserved = str(error)
            self._lack = str(error) if isinstance(error, StoreUnusableError) else ""

    async def _fetch_map(self) -> bool:
        """Adopt the first map on which every slot is served, or else any. Raises StoreUnavailableError."""
        addresses = {*self._seeds, *self._nodes}
        tasks = {asyncio.create_task(_slot_map(self._node_at(address))) for address in addresses}
        self._background |= tasks
        found: _SlotMap | None = None
        trouble: Exception = StoreUnavailableError(self._why_unserved)
        for answer in asyncio.as_completed(tasks):
            try:
                found = await answer
            except StoreUnavailableError as error:
                trouble = error
            if found and found.is_whole:
                break
        for task in tasks:
            # Late answers are not cancelled; they are read and discarded.
            task.add_done_callback(self._forget)
        if found is None:
            raise trouble
        self._adopt(found)
        return found.is_whole

    def _adopt(self, found: _SlotMap) -> None:
        owners: dict[int, Node] = {}
        for first, last, (host, port, *_), *_replicas in found.ranges:
            name = host.decode() if host and host != b"?" else self._address_of(found.source).host
            owners.update(dict.fromkeys(range(first, last + 1), self._node_at(HostPort(name, port))))
        self._owners = owners
        self._why_unserved, self._lack = "no node claims it", ""
        serving = set(owners.values())
        for address, node in list(self._nodes.items()):
            if node not in serving and address not in self._seeds:
                # A replica that is promoted comes back with the map that names it.
                closing = asyncio.create_task(self._nodes.pop(address).aclose())
                self._background.add(closing)
                closing.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()


async def _slot_map(node: Node) -> _SlotMap:
    info, ranges = await node.execute([_CLUSTER_INFO, _CLUSTER_SLOTS])
    for reply in (info, ranges):
        if isinstance(reply, Exception):
            if isinstance(refusal := node.refusal(reply), StoreUnusableError):
                raise refusal
            raise StoreUnavailableError(f"Redis at {node.address} does not act as a cluster: {reply}")
    return _SlotMap(b"cluster_state:ok" in info, node, ranges)


async def _send(target: _Target, batch: Sequence[int], requests: Sequence[Request], replies: list[Any]) -> None:
    sent = [requests[number] for number in batch]
    if target.asking:
        # ASKING permits the one command after it on the same connection.
        sent = [each for request in sent for each in (_ASKING, request)]
    try:
        answers = await target.node.execute(sent)
    except StoreUnavailableError as error:
        answers = [error] * len(sent)
    for number, answer in zip(batch, answers[1::2] if target.asking else answers, strict=True):
        replies[number] = answer
