"""A cluster: which master serves which slot, how that is learnt, and how a command follows it.

Not redis-py's RedisCluster. Its pipeline fails for every node when it fails for one, and then drops the connections
that other callers wait on; it sends ASKING over one connection and the command over another; and its pool refuses
where ours waits. What a cluster adds to a single server is little, and stands here whole.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, TryAgainError

from midsentence.errors import StoreUnavailableError
from midsentence.redis_url import Place
from midsentence.store.node import Command, Node

# How often a command follows the cluster's directions: from an old owner to the new, through a move that is under way,
# and past a node that is gone.
_ROUNDS = 5
# While a slot's keys are moved one by one no script of ours can run, since each names keys that do not exist. A slot
# that holds little is through in this time, and any other answers "not now".
_TRY_AGAIN_SECONDS = 0.05
# Whoever meets a dead node asks the others who serves its slots now; a thousand who meet it together ask once.
_LOOK_SECONDS = 0.5


class _Way(NamedTuple):
    node: Node
    asking: bool


class _Map(NamedTuple):
    is_whole: bool
    asked: Node
    ranges: Any  # as CLUSTER SLOTS replies


class Cluster:
    def __init__(self, seeds: Sequence[Place], connect: Callable[[Place], Node]) -> None:
        self._seeds = seeds
        self._connect = connect
        self._known: dict[Place, Node] = {}
        self._owners: dict[int, Node] = {}
        self._looking: asyncio.Task[bool] | None = None
        self._looked = float("-inf")
        self._why = f"no node of the cluster at {','.join(map(str, seeds))} answers"
        # Questions whose answer came too late, and nodes that left: held until they are done.
        self._background: set[asyncio.Task[Any]] = set()

    async def execute(self, keys: Sequence[str], commands: Sequence[Command]) -> list[Any]:
        """See `Topology`. All nodes are asked at once, and what one does not answer stands in its place."""
        slots = [key_slot(key.encode()) for key in keys]
        replies: list[Any] = [None] * len(commands)
        asked: dict[int, Node] = {}
        left: Sequence[int] = range(len(commands))
        for _ in range(_ROUNDS):
            batches = await self._batches(left, slots, asked, replies)
            await asyncio.gather(*(_send(way, batch, commands, replies) for way, batch in batches.items()))
            asked.clear()
            left = await self._unsettled(batches, slots, asked, replies)
            if not left:
                break
        for number in left:
            replies[number] = StoreUnavailableError(f"slot {slots[number]} is on its way from one node to another")
        return replies

    async def _batches(
        self, left: Iterable[int], slots: Sequence[int], asked: dict[int, Node], replies: list[Any]
    ) -> dict[_Way, list[int]]:
        batches: defaultdict[_Way, list[int]] = defaultdict(list)
        for number in left:
            node = asked.get(number)
            try:
                way = _Way(node, asking=True) if node else _Way(await self._owner(slots[number]), asking=False)
            except StoreUnavailableError as error:
                replies[number] = error
            else:
                batches[way].append(number)
        return batches

    async def _unsettled(
        self, batches: dict[_Way, list[int]], slots: Sequence[int], asked: dict[int, Node], replies: list[Any]
    ) -> list[int]:
        """Which commands are to be sent again, and where to."""
        again: list[int] = []
        pause = False
        for (node, _), batch in batches.items():
            for number in batch:
                match replies[number]:
                    case MovedError() as error:
                        self.moved(node, error)
                    case AskError() as error:
                        asked[number] = self._at(node, error)
                    case TryAgainError():
                        pause = True
                    case StoreUnavailableError():
                        if not await self._replaced(node, slots[number]):
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

    async def node(self, key: str) -> Node:
        return await self._owner(key_slot(key.encode()))

    async def nodes(self) -> Sequence[Node]:
        if not self._owners:
            await self.look_again()
        return list(dict.fromkeys(self._owners.values()))

    async def ping(self) -> None:
        if not await self._look_together():
            raise StoreUnavailableError("the cluster is down: some of its slots are served by nobody")

    async def look_again(self) -> None:
        if self._looking is not None or asyncio.get_running_loop().time() - self._looked > _LOOK_SECONDS:
            await self._look_together()

    def moved(self, node: Node, error: Any) -> None:
        self._owners[error.slot_id] = self._at(node, error)

    async def aclose(self) -> None:
        tasks = [*self._background, *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(node.aclose() for node in self._known.values()))

    async def _owner(self, slot: int) -> Node:
        node = self._owners.get(slot)
        if node is None:
            await self.look_again()
            node = self._owners.get(slot)
        if node is None:
            raise StoreUnavailableError(f"nobody serves slot {slot}: {self._why}")
        return node

    async def _replaced(self, node: Node, slot: int) -> bool:
        """Whether another node serves the slot of one that does not answer."""
        if self._owners.get(slot) is node:
            await self.look_again()
        return self._owners.get(slot) not in (None, node)

    def _at(self, speaker: Node, direction: Any) -> Node:
        # A node that does not know its own name leaves the host out: it is the one that was asked.
        return self._known_at(Place(direction.host or self._place_of(speaker).host, direction.port))

    def _known_at(self, place: Place) -> Node:
        if place not in self._known:
            self._known[place] = self._connect(place)
        return self._known[place]

    def _place_of(self, node: Node) -> Place:
        return next(place for place, known in self._known.items() if known is node)

    async def _look_together(self) -> bool:
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._was_looked)
        # Shielded: one who stops waiting must not stop the answer for the others.
        return await asyncio.shield(self._looking)

    def _was_looked(self, task: asyncio.Task[bool]) -> None:
        self._looking = None
        self._looked = task.get_loop().time()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._why = str(error)

    async def _look(self) -> bool:
        """Take the first map on which every slot is served, else any. Raises StoreUnavailableError."""
        asks = {asyncio.create_task(self._map(self._known_at(place))) for place in {*self._seeds, *self._known}}
        self._background |= asks
        found: _Map | None = None
        trouble: Exception = StoreUnavailableError(self._why)
        for answer in asyncio.as_completed(asks):
            try:
                found = await answer
            except StoreUnavailableError as error:
                trouble = error
            if found and found.is_whole:
                break
        for ask in asks:
            # Late answers are let come: to break them off would cost their connections.
            ask.add_done_callback(self._forget)
        if found is None:
            raise trouble
        self._adopt(found)
        return found.is_whole

    async def _map(self, node: Node) -> _Map:
        about, ranges = await node.execute([("CLUSTER INFO",), ("CLUSTER SLOTS",)])
        for reply in (about, ranges):
            if isinstance(reply, Exception):
                raise StoreUnavailableError(f"Redis at {node.where} does not act as a cluster: {reply}")
        return _Map(about["cluster_state"] == "ok", node, ranges)

    def _adopt(self, found: _Map) -> None:
        owners: dict[int, Node] = {}
        for first, last, (host, port, *_), *_replicas in found.ranges:
            name = host.decode() if host and host != b"?" else self._place_of(found.asked).host
            owners.update(dict.fromkeys(range(first, last + 1), self._known_at(Place(name, port))))
        self._owners = owners
        self._why = "no node claims it"
        serving = set(owners.values())
        for place, node in list(self._known.items()):
            if node not in serving and place not in self._seeds:
                # A replica's name comes back with the next map that needs it.
                closing = asyncio.create_task(self._known.pop(place).aclose())
                self._background.add(closing)
                closing.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()


async def _send(way: _Way, batch: Sequence[int], commands: Sequence[Command], replies: list[Any]) -> None:
    lot = [commands[number] for number in batch]
    if way.asking:
        # The leave to ask holds for the one command after it on the same connection.
        lot = [part for command in lot for part in (("ASKING",), command)]
    try:
        answers = await way.node.execute(lot)
    except StoreUnavailableError as error:
        answers = [error] * len(lot)
    for number, answer in zip(batch, answers[1::2] if way.asking else answers, strict=True):
        replies[number] = answer
