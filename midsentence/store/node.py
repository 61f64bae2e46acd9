"""One Redis server: a connection that all callers share, a time-out for every round trip, and a circuit breaker.

Errors of redis-py become errors of this package here.
"""

import asyncio
import re
from collections.abc import Awaitable, Sequence
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from midsentence.errors import StoreUnavailableError, StoreUnusableError
from midsentence.store.fsync import FsyncConnections
from midsentence.store.pipeline import Pipeline
from midsentence.store.resp import Connect, Socket
from midsentence.store.scripts import Request, command

# Enough to step over a dropped connection, too few to keep a caller waiting for a dead server. A command may run
# twice: every script is safe to repeat.
_RETRIES = 2
# Pauses between the probes of a server that did not answer. Until one is answered, every request is refused at once:
# otherwise a thousand readers would each wait for the time-out, and every turn of a worker would wait for one dead
# node.
_PROBE_SECONDS = (0.05, 0.1, 0.2, 0.4)
# Replies that mean "not now" rather than "you are wrong": the server is full or a replica, a slot is being moved. A
# cluster's client follows the last two; here they lead nowhere in time.
_NOT_NOW = (OutOfMemoryError, ReadOnlyError, TryAgainError, ClusterDownError)
# The same, where redis-py has no type: it cannot write its disk, lacks replicas, runs a script for too long.
_NOT_NOW_WORDS = ("MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE")
# How Redis says that the user of this process lacks a right: by this code, or for a call in a script by these words
# (Valkey, Redis 7.0), before which redis-py takes "ERR" away.
_NO_RIGHT = re.compile(r"(ERR )?(NOPERM|ACL failure in script|The user executing the script can't)")
# What Redis adds to an error of a script.
_OF_SCRIPT = re.compile(r"\s*script: ?[0-9a-f]*,? on @user_script:\d+\.?")

_PING = command("PING")


def lacks_right(error: str) -> bool:
    """Whether the text of an error of Redis says that the user lacks a right."""
    return _NO_RIGHT.match(error) is not None


def no_right(error: str) -> StoreUnusableError:
    """The error for a user that lacks a right, from Redis' own words."""
    return StoreUnusableError(
        f"The user of MIDSENTENCE_REDIS_URL lacks a right ({_OF_SCRIPT.sub('', error).strip()}): give it those that "
        "docs/operations.md lists."
    )


class Node:
    def __init__(self, connect: Connect, address: str, timeout_seconds: float) -> None:
        """`address` names it in messages; `timeout_seconds` bounds a round trip, with all its retries."""
        self.address = address
        self._connect = connect
        self._timeout_seconds = timeout_seconds
        self._retry = Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.02), _RETRIES)
        self._pipeline: Pipeline | None = None
        self._opening: asyncio.Task[Pipeline] | None = None
        self._fsync_connections = FsyncConnections(self.connect)
        # Why the server is not asked now; None while it answers.
        self._trouble: StoreUnavailableError | None = None
        # Rises with each new connection, which may lead to another server, and with each right that is found missing.
        self.changes = 0
        self._probing: asyncio.Task[None] | None = None
        self._is_closed = False

    async def connect(self) -> Socket:
        """Open a socket of the caller's own. Raises a RedisError, an OSError, or StoreUnavailableError."""
        self._refuse_if_closed()
        socket = await self._connect()
        try:
            self._refuse_if_closed()
        except StoreUnavailableError:
            await socket.aclose()
            raise
        return socket

    async def execute(self, requests: Sequence[Request]) -> list[Any]:
        """Send requests in one round trip and give the raw replies in order, ResponseErrors among them.

        Raises StoreUnavailableError where the server does not answer. Any request may then have been executed, and all
        are sent again where the connection drops meanwhile: send only what is safe to repeat.
        """
        replies = await self._round_trip(requests)
        unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # The server was restarted or flushed, another was promoted, or a slot moved to a new master.
            bodies = {script.body for number in unknown if (script := requests[number].script) is not None}
            loads = [command("SCRIPT LOAD", body) for body in bodies]
            again = await self._round_trip([*loads, *(requests[number] for number in unknown)])
            for number, reply in zip(unknown, again[len(loads) :], strict=True):
                replies[number] = reply
        return replies

    async def fsync(self, mark: str, milliseconds: int) -> list[Any]:
        """Write the key `mark` and wait until the append-only file holds it; gives the replies to SET and WAITAOF.

        Raises StoreUnavailableError where the server does not answer.
        """
        self._refuse_in_trouble()
        return await self._in_time(
            self._retry.call_with_retry(lambda: self._fsync_connections.wait(mark, milliseconds), _no_cleanup)
        )

    def refusal(self, error: Exception) -> Exception:
        """Translate an error of Redis for our callers. One that is a defect of ours is returned as it is."""
        if isinstance(error, AuthenticationError):
            words = str(error).partition(". ")[0].rstrip(".")
            return StoreUnusableError(
                f"Redis refuses the user or the password of MIDSENTENCE_REDIS_URL ({words}): put the right ones there."
            )
        if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
            return StoreUnavailableError(f"Redis at {self.address} does not answer: {error or type(error).__name__}")
        if isinstance(error, AskError):
            # `Cluster` follows it, and gives it to `refusal` only where the slot moved on and on.
            return StoreUnavailableError(
                f"Redis at {self.address} serves this slot elsewhere: a cluster's address begins with redis+cluster://"
            )
        words = str(error)
        if isinstance(error, NoPermissionError) or (isinstance(error, ResponseError) and lacks_right(words)):
            self.changes += 1
            return no_right(words)
        if isinstance(error, _NOT_NOW) or (isinstance(error, ResponseError) and words.startswith(_NOT_NOW_WORDS)):
            return StoreUnavailableError(f"Redis at {self.address} refuses: {error or type(error).__name__}")
        return error

    async def aclose(self) -> None:
        """Close all connections. A request that is still waiting fails, and none is opened for it again."""
        self._is_closed = True
        tasks: list[asyncio.Task[Any]] = [task for task in (self._probing, self._opening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._drop(self._pipeline)
        await self._fsync_connections.aclose()

    async def _round_trip(self, requests: Sequence[Request]) -> list[Any]:
        self._refuse_in_trouble()
        data, count = b"".join([request.data for request in requests]), len(requests)
        return await self._in_time(self._retry.call_with_retry(lambda: self._exchange(data, count), _no_cleanup))

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError(f"the connection to Redis at {self.address} was closed by this process")

    def _refuse_in_trouble(self) -> None:
        if self._trouble is not None:
            # A new one: several callers must not share a traceback.
            raise type(self._trouble)(str(self._trouble))

    async def _in_time(self, replies: Awaitable[list[Any]]) -> list[Any]:
        """Wait for replies; where none come, raise StoreUnavailableError and begin to probe."""
        try:
            # redis-py's own time-outs count each try separately.
            async with asyncio.timeout(self._timeout_seconds):
                return await replies
        except TimeoutError as error:
            # Later replies would queue behind the missing one.
            await self._drop(self._pipeline)
            trouble = StoreUnavailableError(
                f"Redis at {self.address} did not answer within {self._timeout_seconds:g} s"
            )
            self._open_circuit(trouble)
            raise trouble from error
        except (RedisError, OSError) as error:
            # An error that is raised instead of being a reply concerns the connection: wrong password, no such
            # database, loading, gone.
            ours = self.refusal(error)
            if not isinstance(ours, StoreUnavailableError):
                ours = StoreUnavailableError(f"Redis at {self.address} refuses us: {error}")
            self._open_circuit(ours)
            raise ours from error

    async def _exchange(self, data: bytes, count: int) -> list[Any]:
        pipeline = self._pipeline
        if pipeline is None or not pipeline.is_open:
            pipeline = await self._reopened()
        replies = await pipeline.exchange(data, count)
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            # It is no longer the primary. Sentinels know which server is, and are asked at every new connection.
            await self._drop(pipeline)
        return replies

    async def _reopened(self) -> Pipeline:
        """Open the pipeline again. Callers share one attempt: in turn, they would wait for many that fail."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._reopen())
            self._opening.add_done_callback(self._attempted)
        # Shielded: a caller that is cancelled must not stop the attempt for the others.
        return await asyncio.shield(self._opening)

    async def _reopen(self) -> Pipeline:
        await self._drop(self._pipeline)
        try:
            pipeline = self._pipeline = Pipeline(await self.connect())
            self.changes += 1
        except asyncio.CancelledError:
            # By `aclose`. The callers, who are not cancelled, must get an error.
            self._refuse_if_closed()
            raise
        return pipeline

    def _attempted(self, task: asyncio.Task[Pipeline]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # every caller may be gone

    async def _drop(self, pipeline: Pipeline | None) -> None:
        if pipeline is not None:
            if self._pipeline is pipeline:
                self._pipeline = None
            await pipeline.aclose()

    def _open_circuit(self, trouble: StoreUnavailableError) -> None:
        self._trouble = trouble
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        """Ask until an answer comes. Its connection is then the one that all requests use."""
        failures = 0
        try:
            while not await self._answers():
                await asyncio.sleep(_PROBE_SECONDS[min(failures, len(_PROBE_SECONDS) - 1)])
                failures += 1
        finally:
            # Both at once, so that trouble which is noticed from now on starts a new probe.
            self._trouble = None
            self._probing = None

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._exchange(_PING.data, 1)
        except TimeoutError:
            await self._drop(self._pipeline)
            return False
        except (RedisError, OSError):
            return False
        return True


async def _no_cleanup(error: Exception) -> None:
    """Do nothing between two tries: `_exchange` opens a new connection where it needs one."""
    del error
