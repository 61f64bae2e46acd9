"""One connection to a Redis server, for any number of requests at once that were packed beforehand."""

import asyncio
from collections import deque
from typing import Any, NamedTuple, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from midsentence.store.resp import Wire


class Pipe(Protocol):
    @property
    def is_open(self) -> bool: ...

    async def exchange(self, requests: bytes, count: int) -> list[Any]:
        """Send `count` requests and give their replies in order, ResponseErrors among them.

        Raises a RedisError where the connection is lost; any of the requests may then have been done.
        """
        ...

    async def aclose(self) -> None: ...


class _Exchange(NamedTuple):
    wanted: int
    replies: list[Any]
    done: asyncio.Future[list[Any]]


class SocketPipe:
    """Any number may exchange at once: Redis answers in the order of the requests."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._exchanges: deque[_Exchange] = deque()
        self._loop = asyncio.get_running_loop()
        self._wire = Wire(connection, self._take, self._lost)

    @property
    def is_open(self) -> bool:
        return self._wire.is_open

    async def exchange(self, requests: bytes, count: int) -> list[Any]:
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        self._exchanges.append(_Exchange(count, [], done))
        self._wire.write(requests)
        # Whoever gives up waiting leaves his place: the replies still come, and in this order.
        return await done

    async def aclose(self) -> None:
        self._wire.end(RedisConnectionError("closed"))
        await self._connection.disconnect(nowait=True)

    def _take(self, replies: list[Any]) -> None:
        for reply in replies:
            # Some errors are about the connection: loading, too many clients.
            if isinstance(reply, RedisError) and not isinstance(reply, ResponseError):
                raise reply
            if not self._exchanges:
                raise RedisConnectionError("a reply to nothing that was asked")
            exchange = self._exchanges[0]
            exchange.replies.append(reply)
            if len(exchange.replies) == exchange.wanted:
                self._exchanges.popleft()
                if not exchange.done.done():
                    exchange.done.set_result(exchange.replies)

    def _lost(self, why: Exception) -> None:
        while self._exchanges:
            done = self._exchanges.popleft().done
            if not done.done():
                done.set_exception(why)


class PolledPipe:
    """For a client that has no socket, such as a Redis in memory."""

    def __init__(self, connection: Any) -> None:
        self.is_open = True
        self._connection = connection
        self._order = asyncio.Lock()

    async def exchange(self, requests: bytes, count: int) -> list[Any]:
        async with self._order:
            await self._connection.send_packed_command(requests)
            return [await self._reply() for _ in range(count)]

    async def aclose(self) -> None:
        self.is_open = False
        await self._connection.disconnect(nowait=True)

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


async def pipe(connection: Any) -> Pipe:
    """Connect a redis-py connection and use it from now on alone. Raises a RedisError or an OSError."""
    try:
        await connection.connect()
    except BaseException:
        # Half made, it would stay open.
        await connection.disconnect(nowait=True)
        raise
    return SocketPipe(connection) if Wire.fits(connection) else PolledPipe(connection)
