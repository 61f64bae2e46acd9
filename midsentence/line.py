"""One connection to one Redis node on which messages are heard, made again for as long as somebody listens on it."""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

import structlog
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError

from midsentence.errors import StoreUnavailableError
from midsentence.node import Node

# A connection whose packets are dropped looks like a quiet one. It is asked this often, and given up after as long
# again without an answer.
_PING_SECONDS = 5.0
# redis-py's tries and time-outs multiply.
_CONNECT_SECONDS = 5.0
_BACK_OFF_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)

_logger = structlog.get_logger()


class Exchange(Protocol):
    """Whoever knows which channel belongs on which line."""

    def published(self, channel: str, payload: bytes) -> None: ...

    def subscribed(self, channel: str) -> None: ...

    def displaced(self, line: "Line", channels: Iterable[str]) -> None:
        """These are not heard here any more: another node has them, or none."""

    def moved(self, line: "Line", error: MovedError) -> None:
        """The node said who serves a slot."""

    async def lost(self, line: "Line") -> None:
        """The node does not answer: others may serve its channels by now."""

    def over(self, line: "Line") -> None: ...


class Line:
    def __init__(self, node: Node, exchange: Exchange) -> None:
        self.node = node
        self.channels: set[str] = set()
        self._exchange = exchange
        self._connection: Any = None
        # Commands reach Redis in the order in which they were meant: a reader who leaves and one who comes must not
        # swap.
        self._order = asyncio.Lock()

    async def join(self, channel: str) -> None:
        self.channels.add(channel)
        await self._say("SSUBSCRIBE", channel)

    async def leave(self, channel: str) -> None:
        self.channels.discard(channel)
        await self._say("SUNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Listen, over as many connections as it takes, until one is lost when nobody listens."""
        failures = 0
        try:
            while True:
                try:
                    await self._connect()
                    if failures:
                        _logger.info("subscription_restored", redis=self.node.where)
                    failures = 0
                    await self._read()
                # uvloop's name for a write to a connection that was closed is RuntimeError.
                except (RedisError, OSError, RuntimeError, StoreUnavailableError) as error:
                    if not failures:
                        _logger.warning("subscription_lost", error=str(self.node.refusal(error)))
                await self._drop()
                await self._exchange.lost(self)
                if not self.channels:
                    self._exchange.over(self)
                    return
                await asyncio.sleep(_BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)])
                failures += 1
        finally:
            await self._drop()

    async def _connect(self) -> None:
        connection = self.node.connection()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connection.connect()
        except BaseException as error:
            # Half made, it would stay open.
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise StoreUnavailableError(f"Redis at {self.node.where} does not answer a subscriber") from error
            raise
        self._connection = connection
        # A command each, since the channels of one node lie in many slots; one write, since there may be thousands.
        commands = [("SSUBSCRIBE", channel) for channel in self.channels]
        if commands:
            async with self._order:
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.disconnect(nowait=True)
            except (RedisError, OSError):
                _logger.debug("subscription_close_failed")

    async def _say(self, *command: str) -> None:
        try:
            async with self._order:
                connection = self._connection
                # One that broke would be made again by the mere attempt, without any of its subscriptions.
                if connection is not None and connection.is_connected:
                    await connection.send_command(*command, check_health=False)
        except (RedisError, OSError, RuntimeError, AttributeError):
            # redis-py writes in a task of its own, and finds no writer where the connection was dropped in between.
            # `run` meets the same broken connection and subscribes to everything anew.
            _logger.debug("subscription_command_failed", command=command)

    async def _read(self) -> None:
        unanswered = False
        while True:
            try:
                message = await self._connection.read_response(timeout=_PING_SECONDS)
            except MovedError as error:
                self._exchange.moved(self, error)
                slot = error.slot_id
                self._exchange.displaced(self, [each for each in self.channels if key_slot(each.encode()) == slot])
                continue
            if message is not None:
                unanswered = False
                self._dispatch(message)
            elif unanswered:
                raise StoreUnavailableError(f"Redis at {self.node.where} is silent")
            else:
                unanswered = True
                await self._say("PING")

    def _dispatch(self, message: Any) -> None:
        match message:
            case [b"smessage", channel, payload]:
                self._exchange.published(channel.decode(), payload)
            case [b"ssubscribe", channel, _]:
                self._exchange.subscribed(channel.decode())
            case [b"sunsubscribe", channel, _] if channel is not None and channel.decode() in self.channels:
                # Nobody here asked for it: the slot has left the node. (Or a reader left and another came at once; then
                # one subscription too many does no harm.)
                self._exchange.displaced(self, [channel.decode()])
            case _:
                pass  # an answer to PING, or to somebody who left
