"""From MIDSENTENCE_REDIS_URL to the server that a key lives on: one Redis, the primary of some sentinels, a cluster."""

from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

from midsentence.errors import StoreUnavailableError
from midsentence.redis_url import RedisUrl
from midsentence.settings import Settings
from midsentence.store.cluster import Cluster
from midsentence.store.node import CONNECTIONS, Command, Node

# A command is tried again within this many tries: enough to step over a dropped connection, too few to keep a caller
# waiting on a dead server. Every script may run twice without harm, which is what allows it.
_RETRIES = 2
# All sentinels are asked in turn before a connection is made, so that one that is gone must not use up the time.
_SENTINEL_SECONDS = 0.5


class Topology(Protocol):
    async def execute(self, keys: Sequence[str], commands: Sequence[Command]) -> list[Any]:
        """Run commands, each on the server of its key, and give their replies in order.

        What Redis refuses, or does not answer, stands as its error in the reply's place; RedisError is a defect of
        ours.
        """
        ...

    async def node(self, key: str) -> Node:
        """Find the server that a key or a sharded channel lives on now. Raises StoreUnavailableError."""
        ...

    async def nodes(self) -> Sequence[Node]:
        """All servers that keys live on. Raises StoreUnavailableError."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailableError where nothing could be written or read."""
        ...

    async def look_again(self) -> None:
        """Find out who serves what, after somebody was seen to be gone. Raises StoreUnavailableError."""
        ...

    def moved(self, node: Node, error: Any) -> None:
        """Learn from a node's MOVED."""
        ...

    async def aclose(self) -> None: ...


class Single:
    """One server, or whichever is the primary now."""

    def __init__(self, node: Node, sentinels: Sentinel | None = None) -> None:
        self._node = node
        self._sentinels = sentinels

    async def execute(self, keys: Sequence[str], commands: Sequence[Command]) -> list[Any]:
        del keys
        try:
            replies = await self._node.execute(commands)
        except StoreUnavailableError as error:
            return [error] * len(commands)
        return [self._node.refusal(reply) if isinstance(reply, Exception) else reply for reply in replies]

    async def node(self, key: str) -> Node:
        del key
        return self._node

    async def nodes(self) -> Sequence[Node]:
        return (self._node,)

    async def ping(self) -> None:
        (reply,) = await self.execute((), [("PING",)])
        if isinstance(reply, Exception):
            raise reply

    async def look_again(self) -> None:
        """There is nowhere else to look."""

    def moved(self, node: Node, error: Any) -> None:
        raise node.refusal(error)

    async def aclose(self) -> None:
        await self._node.aclose()
        if self._sentinels is not None:
            # The client that they gave us does not close them.
            await self._sentinels.aclose()


def topology(settings: Settings, client: "Redis | None" = None) -> Topology:
    """Make the topology that the settings name; nothing is connected yet."""
    url, patience = RedisUrl.parse(settings.redis_url), settings.redis_timeout_seconds
    if client is not None:
        return Single(Node(client, url.address, patience))
    match url.topology:
        case "cluster":
            return Cluster(url.places, lambda place: Node(_client(url.of(place), patience), str(place), patience))
        case "sentinel":
            sentinels = _sentinels(url, patience)
            primary: Any = sentinels.master_for(  # pyright: ignore[reportUnknownMemberType]
                url.service, ssl=url.tls
            )
            return Single(Node(primary, url.address, patience), sentinels)
        case "single":
            return Single(Node(_client(url.of(url.places[0]), patience), url.address, patience))
        case "socket":
            return Single(Node(_client(settings.redis_url, patience), url.address, patience))


def _client(url: str, patience: float) -> "Redis":
    pool = ConnectionPool.from_url(url, **_options(patience))  # pyright: ignore[reportUnknownMemberType]
    return Redis.from_pool(pool)


def _sentinels(url: RedisUrl, patience: float) -> Sentinel:
    known: dict[str, Any] = dict(parse_url(url.of(url.places[0])))
    for name in ("host", "port", "connection_class"):
        known.pop(name, None)
    tls = {name: value for name, value in known.items() if name.startswith("ssl_")}
    login = {name: url.options.get(f"sentinel_{name}") for name in ("username", "password")}
    seconds = min(patience, _SENTINEL_SECONDS)
    return Sentinel(
        list(url.places),
        sentinel_kwargs={
            **tls,
            **login,
            "ssl": url.tls,
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        },
        **known,
        **_options(patience),
    )


def _options(patience: float) -> dict[str, Any]:
    return {
        # One for the probe of a server that all the others wait for.
        "max_connections": CONNECTIONS + 1,
        # redis-py's own default of 5 s is set on purpose here, so that a longer one is a decision and not an accident.
        "socket_timeout": patience,
        "socket_connect_timeout": min(patience, 3),
        "retry": Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.02), _RETRIES),
        "protocol": 2,
    }
