"""One connection to a Redis server that any number of callers share: requests are sent without waiting for replies."""

import asyncio
import re
from collections import deque
from typing import Any, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from midsentence.store.resp import RespConnection, Socket

_PROTOCOL_ERROR = re.compile(r"(ERR )?Protocol error")


class _Exchange(NamedTuple):
    expected: int
    replies: list[Any]
    done: asyncio.Future[list[Any]]


class Pipeline:
    """Redis answers in the order of the requests, so replies need no number."""

    def __init__(self, socket: Socket) -> None:
        self._exchanges: deque[_Exchange] = deque()
        self._loop = asyncio.get_running_loop()
        self._connection = RespConnection(socket, self._received, self._lost)

    @property
    def is_open(self) -> bool:
        return self._connection.is_open

    async def exchange(self, data: bytes, count: int) -> list[Any]:
        """Send `count` encoded requests and give their replies in order, ResponseErrors among them.

        Raises a RedisError where the connection is lost; any of the requests may then have been executed.
        """
        if not count:
            # No reply would ever complete it, and it would block the exchanges behind it.
            return []
        if not self._connection.is_open:
            raise RedisConnectionError("the connection was lost")
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        self._exchanges.append(_Exchange(count, [], done))
        self._connection.write(data)
        # The slot of a cancelled caller stays in the queue: its replies still arrive, in order, and are discarded.
        return await done

    async def aclose(self) -> None:
        await self._connection.aclose()

    def _received(self, replies: list[Any]) -> None:
        for reply in replies:
            if isinstance(reply, RedisError):
                # Some errors concern the whole connection: loading, too many clients.
                if not isinstance(reply, ResponseError):
                    raise reply
                if _PROTOCOL_ERROR.match(str(reply)):
                    self._refuse(reply)
            if not self._exchanges:
                raise RedisConnectionError("a reply without a request")
            exchange = self._exchanges[0]
            exchange.replies.append(reply)
            if len(exchange.replies) == exchange.expected:
                self._exchanges.popleft()
                if not exchange.done.done():
                    exchange.done.set_result(exchange.replies)

    def _refuse(self, error: ResponseError) -> None:
        """Give the error to the request that it concerns, and end the connection, of which Redis reads no more.

        A string that is longer than `proto-max-bulk-len` is refused so. Sent again, it would end every connection.
        """
        lost = RedisConnectionError(f"the connection was refused: {error}")
        if self._exchanges:
            exchange = self._exchanges.popleft()
            unread = exchange.expected - len(exchange.replies) - 1
            if not exchange.done.done():
                exchange.done.set_result([*exchange.replies, error, *[lost] * unread])
        raise lost

    def _lost(self, reason: Exception) -> None:
        while self._exchanges:
            done = self._exchanges.popleft().done
            if not done.done():
                done.set_exception(reason)
