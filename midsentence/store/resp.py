"""The socket of a connection that redis-py made, logged in on and shook hands over, used by ourselves from then on.

redis-py awaits each reply by itself, with a time-out of its own: that costs more than everything that a server does
with a message, or a worker with an append.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

Word = str | bytes | int | float

# One command as Redis reads it. hiredis' own annotation allows it a single word.
pack: Callable[[tuple[Word, ...]], bytes] = cast("Any", hiredis).pack_command

_INCOMPLETE = object()


class Wire(asyncio.Protocol):
    def __init__(self, connection: Any, take: Callable[[list[Any]], None], lost: Callable[[Exception], None]) -> None:
        """`take` is given all whole replies that a read of the socket completed, an error reply as an exception.

        A RedisError that it raises ends the connection, of which `lost` is told once.
        """
        self.is_open = True
        self._take = take
        self._lost = lost
        parse_error = connection._parser.parse_error  # noqa: SLF001 - redis-py gives neither to anybody
        self._transport: asyncio.Transport = connection._writer.transport  # noqa: SLF001 - as above
        self._parser = hiredis.Reader(replyError=parse_error, notEnoughData=_INCOMPLETE)
        self._transport.set_protocol(self)

    @staticmethod
    def fits(connection: Any) -> bool:
        """Whether there is a socket: a Redis in memory has none."""
        return isinstance(connection._writer, asyncio.StreamWriter)  # noqa: SLF001 - as above

    def write(self, data: bytes) -> None:
        """Send, or find out that the connection is lost."""
        if self._transport.is_closing():
            # It tells so only later, and uvloop raises for a write meanwhile.
            self.end(RedisConnectionError("the connection was closed"))
        else:
            self._transport.write(data)

    def end(self, why: Exception) -> None:
        if self.is_open:
            self.is_open = False
            self._transport.abort()
            self._lost(why)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        replies: list[Any] = []
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not _INCOMPLETE:
                replies.append(reply)
            self._take(replies)
        except hiredis.ProtocolError as error:
            self.end(RedisConnectionError(str(error)))
        except RedisError as error:
            self.end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(RedisConnectionError(str(exc) if exc else "Connection closed by server."))
