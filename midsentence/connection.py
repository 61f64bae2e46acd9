"""The single point of control over Redis connections, and the seam where Redis' errors become ours."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from midsentence import keys
from midsentence.errors import StoreUnavailableError
from midsentence.settings import Settings

# Replies that say "not now" rather than "you are wrong": the server is loading, full, a replica, failing to write its
# disk, or moving.
_NOT_NOW = (
    *("OOM", "READONLY", "LOADING", "MISCONF", "MASTERDOWN", "CLUSTERDOWN"),
    *("TRYAGAIN", "NOREPLICAS", "BUSY", "NOAUTH", "WRONGPASS", "NOPERM"),
)
# A command is tried again within this many tries: enough to step over a dropped connection, too few to keep a caller
# waiting on a dead server. Every script may run twice without harm, which is what allows it.
_RETRIES = 2
# One burst of readers must not open a socket each: those over this number wait for a connection, as long as for a
# reply.
_CONNECTIONS = 32


class Script:
    """One Lua script of `midsentence/lua`, known to Redis by its digest."""

    def __init__(self, name: str, *, of_session: bool = True) -> None:
        folder = files("midsentence") / "lua"
        body = (folder / f"{name}.lua").read_text()
        self.name = name
        self.body = (folder / "prelude.lua").read_text() + body if of_session else body
        self.digest = ""


class Call(NamedTuple):
    """A script to run, with its keys and arguments."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int | float]


class Store:
    """Redis as this package uses it.

    Every method raises StoreUnavailableError where Redis does not answer or will not write.
    """

    def __init__(self, settings: Settings, client: "Redis | None" = None) -> None:
        self.settings = settings
        # Any, since redis-py's own annotations leave half of every command unknown.
        self._client: Any = client if client is not None else _connect(settings)

    async def run(self, call: Call) -> Any:
        (reply,) = await self.run_all([call])
        return reply

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in one round trip and give their replies in order.

        A reply that Redis refused for now is a StoreUnavailableError in its place when there are several; alone it is
        raised.
        """
        with translated(self.settings):
            replies = await self._pipelined(calls)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                # Redis was restarted or flushed. Scripts are idempotent, so those that did run may run once more.
                await self._load(call.script for call in calls)
                replies = await self._pipelined(calls)
            for position, reply in enumerate(replies):
                if isinstance(reply, RedisError):
                    replies[position] = refusal(reply, self.settings)
        if len(replies) == 1 and isinstance(replies[0], Exception):
            raise replies[0]
        return replies

    async def ping(self) -> None:
        with translated(self.settings):
            await self._client.ping()

    async def fsynced(self) -> None:
        """Wait until everything written so far is in the append-only file on disk (WAITAOF, Redis 7.2, Valkey 7.2)."""
        limit = int(self.settings.redis_timeout_seconds * 900)
        with translated(self.settings):
            # Redis counts the connection's own last write, and another connection wrote ours; a write of this one
            # comes after it.
            pipeline = self.pipeline()
            pipeline.set(keys.FSYNC_MARK, "", px=60_000)
            pipeline.execute_command("WAITAOF", 1, 0, limit)
            _, reply = await pipeline.execute(raise_on_error=False)
        if isinstance(reply, Exception):
            where = address(self.settings)
            raise StoreUnavailableError(f"MIDSENTENCE_DURABLE=1 needs `appendonly yes` on {where}: {reply}") from reply
        if reply[0] < 1:
            raise StoreUnavailableError(f"Redis at {address(self.settings)} did not write its disk within {limit} ms")

    async def aclose(self) -> None:
        await self._client.aclose()

    def pipeline(self) -> Any:
        """Plain commands in one round trip, for what needs no script."""
        return self._client.pipeline(transaction=False)

    def pubsub(self) -> Any:
        """Give a connection of its own for subscriptions (`live`)."""
        return self._client.pubsub()

    async def _pipelined(self, calls: Sequence[Call]) -> list[Any]:
        await self._load(call.script for call in calls if not call.script.digest)
        pipeline = self.pipeline()
        for call in calls:
            pipeline.evalsha(call.script.digest, len(call.keys), *call.keys, *call.arguments)
        return await pipeline.execute(raise_on_error=False)

    async def _load(self, scripts: Iterable[Script]) -> None:
        for script in {script.name: script for script in scripts}.values():
            script.digest = await self._client.script_load(script.body)


def _connect(settings: Settings) -> "Redis":
    pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
        settings.redis_url,
        max_connections=_CONNECTIONS,
        timeout=settings.redis_timeout_seconds,
        # redis-py's own default of 5 s is set on purpose here, so that a longer one is a decision and not an accident.
        socket_timeout=settings.redis_timeout_seconds,
        socket_connect_timeout=min(settings.redis_timeout_seconds, 3),
        retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.02), _RETRIES),
        protocol=2,
    )
    return Redis.from_pool(pool)


def address(settings: Settings) -> str:
    """Where Redis is, without the password that a URL may carry."""
    url = urlsplit(settings.redis_url)
    return url.path if url.scheme == "unix" else f"{url.hostname or '127.0.0.1'}:{url.port or 6379}"


def refusal(error: RedisError, settings: Settings) -> Exception:
    """What a Redis error means to our callers; a defect of ours is handed back as it is."""
    if isinstance(error, RedisConnectionError | RedisTimeoutError):
        return StoreUnavailableError(f"Redis at {address(settings)} does not answer: {error or type(error).__name__}")
    if isinstance(error, ResponseError) and str(error).startswith(_NOT_NOW):
        return StoreUnavailableError(f"Redis at {address(settings)} refuses: {error}")
    name = type(error).__name__
    if name in {"OutOfMemoryError", "ReadOnlyError", "BusyLoadingError", "AuthenticationError", "NoPermissionError"}:
        return StoreUnavailableError(f"Redis at {address(settings)} refuses: {error}")
    return error


@contextmanager
def translated(settings: Settings) -> Generator[None]:
    """Foreign errors become ours here and nowhere else."""
    try:
        yield
    except RedisError as error:
        ours = refusal(error, settings)
        if ours is error:
            raise
        raise ours from error
    except OSError as error:
        raise StoreUnavailableError(f"Redis at {address(settings)} does not answer: {error}") from error
