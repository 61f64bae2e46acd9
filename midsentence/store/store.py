"""The single point of control over Redis: everything that this package asks of it goes through a `Store`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from midsentence.errors import StoreUnavailableError
from midsentence.redis_url import RedisUrl
from midsentence.settings import Settings
from midsentence.store.node import Command, Node, Packed, Script
from midsentence.store.resp import pack
from midsentence.store.topology import Topology, topology

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Call", "Command", "Packed", "Script", "Store", "address"]


class Call(NamedTuple):
    """A script to run, with its keys and arguments. All keys share a hash tag."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int | float]


class Store:
    """Redis as this package uses it, whether that is one server, the primary of some sentinels, or a cluster.

    Every method raises StoreUnavailableError where Redis does not answer or will not write.
    """

    def __init__(self, settings: Settings, client: "Redis | None" = None) -> None:
        self.settings = settings
        self.topology: Topology = topology(settings, client)

    async def run(self, call: Call) -> Any:
        (reply,) = await self.run_all([call])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run_all(self, calls: Sequence[Call] | Sequence[Packed]) -> list[Any]:
        """Run scripts in one round trip for each server that they concern, and give their replies in order.

        What Redis does not do for now is a StoreUnavailableError in its place, raised where it is all there is: the
        servers that answer must not suffer from the one that does not.
        """
        commands = [call if isinstance(call, Packed) else _packed(call) for call in calls]
        replies = await self.topology.execute([command.key for command in commands], commands)
        if replies and all(isinstance(reply, StoreUnavailableError) for reply in replies):
            raise replies[0]
        return replies

    async def execute(self, *commands: Command) -> list[Any]:
        """Run plain commands, for what needs no script; each one's second word is its key. Raises the first error."""
        replies = await self.execute_all(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def execute_all(self, commands: Sequence[Command]) -> list[Any]:
        """Run plain commands; what went wrong stands as its error in the reply's place."""
        return await self.topology.execute([str(command[1]) for command in commands], commands)

    async def ping(self) -> None:
        await self.topology.ping()

    async def fsynced(self, mark: str) -> None:
        """Wait until what was written is in the append-only file on disk (WAITAOF, Redis 7.2, Valkey 7.2).

        `mark` is a key of the slot that was written to.
        """
        limit = int(self.settings.redis_timeout_seconds * 900)
        node = await self.topology.node(mark)
        # Redis counts the connection's own last write, and another connection wrote ours; a write of this one comes
        # after it.
        written, reply = await node.execute([("SET", mark, "", "PX", 60_000), ("WAITAOF", 1, 0, limit)])
        if isinstance(written, Exception):
            raise node.refusal(written) from written
        if isinstance(reply, Exception):
            raise StoreUnavailableError(
                f"MIDSENTENCE_DURABLE=1 needs `appendonly yes` on {node.where}: {reply}"
            ) from reply
        if reply[0] < 1:
            raise StoreUnavailableError(f"Redis at {node.where} did not write its disk within {limit} ms")

    async def node(self, key: str) -> Node:
        """Find the server that a sharded channel lives on (`live`)."""
        return await self.topology.node(key)

    async def aclose(self) -> None:
        await self.topology.aclose()


def _packed(call: Call) -> Packed:
    words = ("EVALSHA", call.script.digest, len(call.keys), *call.keys, *call.arguments)
    return Packed(call.keys[0], call.script.digest, pack(words))


def address(settings: Settings) -> str:
    """Where Redis is, without the password that a URL may carry."""
    return RedisUrl.parse(settings.redis_url).address
