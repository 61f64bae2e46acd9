"""The single point of control over Redis: everything that this package asks of it goes through a `Store`."""

from collections.abc import Sequence
from typing import Any

from midsentence.errors import StoreUnavailableError
from midsentence.keys import Keys
from midsentence.redis_url import RedisUrl
from midsentence.settings import Settings
from midsentence.store.node import Node
from midsentence.store.scripts import Request
from midsentence.store.topology import topology_of


class Store:
    """Redis as this package uses it: one server, the primary that sentinels name, or a cluster.

    Replies are as Redis wrote them: bytes, int, None, or a list of these. Every method raises StoreUnavailableError
    where Redis does not answer or refuses to write.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.topology = topology_of(settings)

    async def run(self, request: Request) -> Any:
        (reply,) = await self.execute(request)
        return reply

    async def run_all(self, requests: Sequence[Request]) -> list[Any]:
        """Send requests in one round trip for each server that has their keys, and give their replies in order.

        A request that Redis does not execute now has a StoreUnavailableError as its reply, which is raised only where
        all have one: callers of the servers that answer must not suffer from the one that does not.
        """
        replies = await self.execute_all(requests)
        if replies and all(isinstance(reply, StoreUnavailableError) for reply in replies):
            raise replies[0]
        return replies

    async def execute(self, *requests: Request) -> list[Any]:
        """Send requests and give their replies. Raises the first error among them."""
        replies = await self.execute_all(requests)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def execute_all(self, requests: Sequence[Request]) -> list[Any]:
        """Send requests and give their replies; the reply to one that failed is its error."""
        return await self.topology.execute(requests)

    def servers(self, keys: Sequence[str]) -> Sequence[object]:
        """Name the server of each key. See `Topology.servers`."""
        return self.topology.servers(keys)

    async def ping(self) -> None:
        await self.topology.ping()

    async def fsynced(self, mark: str) -> None:
        """Wait until what was written is in the append-only file on disk (WAITAOF, Redis 7.2, Valkey 7.2).

        `mark` is a key of the slot that was written to.
        """
        limit = int(self.settings.redis_timeout_seconds * 900)
        node = await self.topology.node(mark)
        written, reply = await node.fsync(mark, limit)
        if isinstance(written, Exception):
            raise node.refusal(written) from written
        if isinstance(reply, Exception):
            raise StoreUnavailableError(
                f"MIDSENTENCE_DURABLE=1 needs `appendonly yes` on {node.address}: {reply}"
            ) from reply
        if reply[0] < 1:
            raise StoreUnavailableError(f"Redis at {node.address} did not write its disk within {limit} ms")

    async def node(self, key: str) -> Node:
        """Find the server of a sharded channel, for `Subscriptions`."""
        return await self.topology.node(key)

    async def aclose(self) -> None:
        await self.topology.aclose()


def address(settings: Settings) -> str:
    """The address of Redis, without the password that a URL may carry."""
    return RedisUrl.parse(settings.redis_url).address
