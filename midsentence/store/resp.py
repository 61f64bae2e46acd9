"""RESP, the protocol of Redis, on the socket of a connection that is already logged in.

redis-py awaits each reply separately, with a timer for each: that costs more than all that a server does with a
message, or a worker with an append.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

Word = str | bytes | int | float

# Encodes one command. hiredis annotates the argument as a single word.
pack: Callable[[tuple[Word, ...]], bytes] = cast("Any", hiredis).pack_command
# Turns the text of an error reply into redis-py's exception.
_parse_error: Callable[[str], Exception] = cast("Any", DefaultParser).parse_error

_INCOMPLETE = object()


class Socket(Protocol):
    """A connected socket on which the login is done."""

    @property
    def transport(self) -> asyncio.Transport: ...

    async def aclose(self) -> None: ...


# Opens a socket. Raises a RedisError or an OSError.
Connect = Callable[[], Awaitable[Socket]]


class RespConnection(asyncio.Protocol):
    def __init__(
        self, socket: Socket, received: Callable[[list[Any]], None], lost: Callable[[Exception], None]
    ) -> None:
        """`received` gets all replies that one read of the socket completed; an error reply is an exception among them.

        A RedisError that `received` raises ends the connection. `lost` is called once, with the reason.
        """
        self.is_open = True
        self._socket = socket
        self._transport = socket.transport
        self._received = received
        self._lost = lost
        self._parser = hiredis.Reader(replyError=_parse_error, notEnoughData=_INCOMPLETE)
        self._transport.set_protocol(self)

    def write(self, data: bytes) -> None:
        """Send, or call `lost` where the connection was closed."""
        if self._transport.is_closing():
            # `connection_lost` is called only in the loop's next turn, and uvloop raises for a write until then.
            self._end(RedisConnectionError("the connection was closed"))
        else:
            self._transport.write(data)

    async def aclose(self) -> None:
        self._end(RedisConnectionError("closed"))
        await self._socket.aclose()

    def _end(self, reason: Exception) -> None:
        if self.is_open:
            self.is_open = False
            self._transport.abort()
            self._lost(reason)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        replies: list[Any] = []
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not _INCOMPLETE:
                replies.append(reply)
            self._received(replies)
        except hiredis.ProtocolError as error:
            self._end(RedisConnectionError(str(error)))
        except RedisError as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(RedisConnectionError(str(exc) if exc else "Connection closed by server."))
