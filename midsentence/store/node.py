"""One Redis server that commands are sent to: a bounded number of connections, a bounded wait, and a memory of trouble.

Foreign errors become ours here and nowhere else.
"""

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    DataError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from midsentence.errors import StoreUnavailableError
from midsentence.store.pipeline import Pipe, pipe
from midsentence.store.resp import Word, pack

# One burst of readers must not open a socket each: those over this number wait for a connection, as long as for a
# reply.
CONNECTIONS = 32
# How often a server that did not answer is asked whether it does again. Whatever is wanted of it meanwhile is refused
# at once: a thousand readers that each wait out the time-out would hold a thousand replies up, and every turn of a
# worker would wait for the one node that is gone.
_PROBE_SECONDS = (0.05, 0.1, 0.2, 0.4)
# Replies that say "not now" rather than "you are wrong": the server is full, a replica, failing to write its disk, or
# its slots are on their way. redis-py knows some of them as classes, of which it cuts the word off.
_NOT_NOW_WORDS = ("OOM", "READONLY", "LOADING", "MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE")
_NOT_NOW_CLASSES = {"OutOfMemoryError", "ReadOnlyError", "NoPermissionError"}
# What a cluster client follows; where it leads nowhere in time it is one more "not now".
_MOVING = (TryAgainError, ClusterDownError)

# What uvloop raises for a write to a connection that was closed, where asyncio has an OSError.
_HANDLE_CLOSED = "the handler is closed"

# What every script of a session begins with.
_OF_SESSION = ("common", "ids", "epochs", "announcements", "session")


class Script:
    """One Lua script of `midsentence/lua`, known to Redis by its digest."""

    def __init__(self, name: str, *, behind: Sequence[str] = _OF_SESSION) -> None:
        """`behind`: the parts that it needs, in order; each costs a little whenever it runs."""
        folder = files("midsentence") / "lua"
        self.name = name
        self.body = "".join((folder / f"{part}.lua").read_text() for part in (*behind, name))

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-1 by which EVALSHA names it. Any node that does not know it is given the body."""
        digest = hashlib.sha1(self.body.encode(), usedforsecurity=False).hexdigest()
        _bodies[digest] = self.body
        return digest


class Packed(NamedTuple):
    """A call of a script as it goes over the connection."""

    key: str
    digest: str
    request: bytes


# A command's name, then its arguments, the key first; or one that was packed beforehand.
Command = tuple[Word, ...] | Packed

_bodies: dict[str, str] = {}


class Node:
    def __init__(self, client: Any, where: str, patience: float) -> None:
        """`where` names it to people; `patience` is how many seconds one round trip may take, all waits included."""
        self.where = where
        # Any, since redis-py's own annotations leave half of every command unknown.
        self._client = client
        self._patience = patience
        # redis-py's own blocking pool can lose the wake-up of a waiter that is cancelled.
        self._free = asyncio.Semaphore(CONNECTIONS)
        # For what comes packed: one connection for all, made when it is needed.
        self._pipe: Pipe | None = None
        self._piping = asyncio.Lock()
        # As often as redis-py tries; a client that was not told how often, never again.
        self._retry: Retry = client.get_retry() or Retry(NoBackoff(), 0)
        self._trouble = ""
        self._probing: asyncio.Task[None] | None = None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip and give their replies in order, RedisErrors among them.

        Raises StoreUnavailableError where the server does not answer. Any command may then have been done, and a
        connection that drops in the middle has all of them sent again: only what may be repeated is sent.
        """
        replies = await self._round_trip(commands)
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # The server was restarted or flushed, another was promoted, or a slot came to a master that is new to us.
            digests = {str(commands[place][1]) for place in unknown}
            loads: list[Command] = [("SCRIPT LOAD", _bodies[digest]) for digest in digests]
            again = await self._round_trip([*loads, *(commands[place] for place in unknown)])
            for place, reply in zip(unknown, again[len(loads) :], strict=True):
                replies[place] = reply
        return replies

    def connection(self) -> Any:
        """Make a connection that is nobody else's, for subscriptions; not connected yet."""
        return self._client.connection_pool.make_connection()

    def refusal(self, error: Exception) -> Exception:
        """What a Redis error means to our callers; a defect of ours is handed back as it is."""
        if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
            return StoreUnavailableError(f"Redis at {self.where} does not answer: {error or type(error).__name__}")
        if isinstance(error, AskError):
            # A cluster's client comes here only when the slot moved on and on.
            return StoreUnavailableError(
                f"Redis at {self.where} serves this slot elsewhere: a cluster's address begins with redis+cluster://"
            )
        is_not_now = isinstance(error, _MOVING) or type(error).__name__ in _NOT_NOW_CLASSES
        if is_not_now or (isinstance(error, ResponseError) and str(error).startswith(_NOT_NOW_WORDS)):
            return StoreUnavailableError(f"Redis at {self.where} refuses: {error or type(error).__name__}")
        return error

    async def aclose(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        await self._drop(self._pipe)
        with contextlib.suppress(RedisError, OSError):
            await self._client.aclose()

    async def _round_trip(self, commands: Sequence[Command]) -> list[Any]:
        if self._trouble:
            raise StoreUnavailableError(self._trouble)
        try:
            # Not left to redis-py, whose tries and time-outs multiply.
            async with asyncio.timeout(self._patience):
                if commands and isinstance(commands[-1], Packed):
                    return await self._pass(commands)
                async with self._free:
                    return await self._send(commands)
        except TimeoutError as error:
            # Nobody is to wait on a connection behind what did not come.
            await self._drop(self._pipe)
            self._notice(f"Redis at {self.where} did not answer within {self._patience:g} s")
            raise StoreUnavailableError(self._trouble) from error
        except DataError:
            raise  # a defect of ours: what we gave cannot be sent
        except RuntimeError as error:
            if _HANDLE_CLOSED not in str(error):
                raise
            # The connection broke between redis-py's look at it and its write; it is made anew for the next.
            raise StoreUnavailableError(f"Redis at {self.where} does not answer: the connection was lost") from error
        except (RedisError, OSError) as error:
            # What is raised, instead of standing among the replies, is about the connection: no login, no such
            # database, loading, gone.
            ours = self.refusal(error)
            self._notice(f"Redis at {self.where} refuses us: {error}" if ours is error else str(ours))
            raise StoreUnavailableError(self._trouble) from error

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)

    async def _pass(self, commands: Sequence[Command]) -> list[Any]:
        """As `_send`, for what is packed and what must go before it; replies come as Redis wrote them."""
        requests = b"".join(
            [command.request if isinstance(command, Packed) else _packed(command) for command in commands]
        )
        return await self._retry.call_with_retry(lambda: self._exchange(requests, len(commands)), _broke)

    async def _exchange(self, requests: bytes, count: int) -> list[Any]:
        way = self._pipe
        if way is None or not way.is_open:
            way = await self._opened()
        replies = await way.exchange(requests, count)
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            # It was the primary once; sentinels know who is now, and are asked when a connection is made.
            await self._drop(way)
        return replies

    async def _opened(self) -> Pipe:
        async with self._piping:
            if self._pipe is None or not self._pipe.is_open:
                await self._drop(self._pipe)
                self._pipe = await pipe(self.connection())
            return self._pipe

    async def _drop(self, way: Pipe | None) -> None:
        if way is not None:
            if self._pipe is way:
                self._pipe = None
            with contextlib.suppress(RedisError, OSError):
                await way.aclose()

    def _notice(self, trouble: str) -> None:
        self._trouble = trouble
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe())
            self._probing.add_done_callback(self._probed)

    async def _probe(self) -> None:
        tries = 0
        while self._trouble:
            try:
                # Past the semaphore, which those who wait in vain may hold; the pool has a connection to spare.
                async with asyncio.timeout(self._patience):
                    await self._send([("PING",)])
                self._trouble = ""
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(_PROBE_SECONDS[min(tries, len(_PROBE_SECONDS) - 1)])
                tries += 1

    def _probed(self, _task: asyncio.Task[None]) -> None:
        self._probing = None


async def _broke(error: Exception) -> None:
    """For redis-py's retries, which ask somebody to close what broke: `_exchange` sees by itself."""
    del error


def _packed(command: tuple[Word, ...]) -> bytes:
    # "SCRIPT LOAD" is two words to Redis.
    return pack((*str(command[0]).split(), *command[1:]))
