"""From MIDSENTENCE_REDIS_URL to the server of a key: one Redis, the primary that sentinels name, or a cluster."""

from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from midsentence.errors import StoreUnavailableError
from midsentence.redis_url import RedisUrl
from midsentence.settings import Settings
from midsentence.store.cluster import Cluster
from midsentence.store.connector import Connector
from midsentence.store.node import Node
from midsentence.store.scripts import Request, command

# Sentinels are asked one after the other before a connection is made: one that is gone must not use up the time.
_SENTINEL_SECONDS = 0.5
_CONNECT_SECONDS = 3.0

_PING = command("PING")


class Topology(Protocol):
    async def execute(self, requests: Sequence[Request]) -> list[Any]:
        """Send each request to the server of its key, and give the replies in order.

        A request that Redis refuses or does not answer has its error as the reply; a RedisError is a defect of ours.
        """
        ...

    def servers(self, keys: Sequence[str]) -> Sequence[object]:
        """Name the server of each key, or None where it is not known yet.

        A caller that sends requests to each of them alone does not let one wait for another.
        """
        ...

    async def node(self, key: str) -> Node:
        """Find the server of a key or a sharded channel. Raises StoreUnavailableError."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailableError where nothing could be written or read."""
        ...

    async def refresh(self) -> None:
        """Learn which server has which key, after one was found gone. Raises StoreUnavailableError."""
        ...

    def moved(self, node: Node, error: Any) -> None:
        """Learn from the MOVED that a node replied."""
        ...

    async def aclose(self) -> None: ...


class Single:
    """One server, or the server that is the primary now."""

    def __init__(self, node: Node, sentinels: Sentinel | None = None) -> None:
        self._node = node
        self._sentinels = sentinels

    async def execute(self, requests: Sequence[Request]) -> list[Any]:
        try:
            replies = await self._node.execute(requests)
        except StoreUnavailableError as error:
            return [error] * len(requests)
        return [self._node.refusal(reply) if isinstance(reply, Exception) else reply for reply in replies]

    def servers(self, keys: Sequence[str]) -> Sequence[object]:
        return [self._node] * len(keys)

    async def node(self, key: str) -> Node:
        del key
        return self._node

    async def ping(self) -> None:
        (reply,) = await self.execute([_PING])
        if isinstance(reply, Exception):
            raise reply

    async def refresh(self) -> None:
        """Nothing: there is one server, and sentinels are asked at every new connection."""

    def moved(self, node: Node, error: Any) -> None:
        raise node.refusal(error)

    async def aclose(self) -> None:
        await self._node.aclose()
        if self._sentinels is not None:
            await self._sentinels.aclose()


def topology_of(settings: Settings) -> Topology:
    """Make the topology that the settings name; nothing is connected yet."""
    url, timeout_seconds = RedisUrl.parse(settings.redis_url), settings.redis_timeout_seconds
    match url.topology:
        case "cluster":
            return Cluster(url.hosts, lambda host: _node(url.of(host), str(host), timeout_seconds))
        case "sentinel":
            sentinels = _sentinels(url, timeout_seconds)
            known: Any = sentinels  # redis-py leaves the types of its options unknown
            pool = SentinelConnectionPool(url.service, sentinels, ssl=url.tls, **known.connection_kwargs)
            return Single(Node(Connector(pool).connect, url.address, timeout_seconds), sentinels)
        case "single":
            return Single(_node(url.of(url.hosts[0]), url.address, timeout_seconds))
        case "socket":
            return Single(_node(settings.redis_url, url.address, timeout_seconds))


def _node(url: str, address: str, timeout_seconds: float) -> Node:
    pool = ConnectionPool.from_url(url, **_options(timeout_seconds))  # pyright: ignore[reportUnknownMemberType]
    return Node(Connector(pool).connect, address, timeout_seconds)


def _sentinels(url: RedisUrl, timeout_seconds: float) -> Sentinel:
    options: dict[str, Any] = dict(parse_url(url.of(url.hosts[0])))
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    login = {name: url.options.get(f"sentinel_{name}") for name in ("username", "password")}
    seconds = min(timeout_seconds, _SENTINEL_SECONDS)
    return Sentinel(
        list(url.hosts),
        sentinel_kwargs={
            **tls,
            **login,
            "ssl": url.tls,
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "retry": _once(),
            "protocol": 2,
        },
        **options,
        **_options(timeout_seconds),
    )


def _options(timeout_seconds: float) -> dict[str, Any]:
    # For the login alone. `Node` bounds and retries all that follows, and the attempts to connect.
    return {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": min(timeout_seconds, _CONNECT_SECONDS),
        "retry": _once(),
        "protocol": 2,
    }


def _once() -> Retry:
    return Retry(NoBackoff(), 0)
