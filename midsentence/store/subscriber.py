"""One connection to one Redis node on which messages are heard, made again for as long as somebody listens on it."""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

import structlog
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError

from midsentence.errors import StoreUnavailableError
from midsentence.store.ear import Ear, ear
from midsentence.store.node import Node

# A connection whose packets are dropped looks like a quiet one. It is asked this often, and given up after as long
# again without an answer.
_PING_SECONDS = 4.0
_LOOK_SECONDS = 1.0
# redis-py's tries and time-outs multiply.
_CONNECT_SECONDS = 5.0
_BACK_OFF_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)

_logger = structlog.get_logger()


class Exchange(Protocol):
    """Whoever knows which channel belongs on which line."""

    def published(self, messages: list[tuple[bytes, bytes]]) -> None:
        """(channel, payload) of all that came together, in order."""

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
        self._ear: Ear | None = None
        self._is_quiet = True

    def join(self, channel: str) -> None:
        self.channels.add(channel)
        self._say("SSUBSCRIBE", channel)

    def leave(self, channel: str) -> None:
        self.channels.discard(channel)
        self._say("SUNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Listen, over as many connections as it takes, until one is lost when nobody listens."""
        failures = 0
        while True:
            try:
                connection = await self._connect()
                try:
                    if failures:
                        _logger.info("subscription_restored", redis=self.node.where)
                    failures = 0
                    await self._listen(connection)
                finally:
                    self._ear = None
                    await _drop(connection)
            # uvloop's name for a write to a connection that was closed is RuntimeError.
            except (RedisError, OSError, RuntimeError, StoreUnavailableError) as error:
                if not failures:
                    _logger.warning("subscription_lost", error=str(self.node.refusal(error)))
            await self._exchange.lost(self)
            if not self.channels:
                self._exchange.over(self)
                return
            await asyncio.sleep(_BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)])
            failures += 1

    async def _connect(self) -> Any:
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
        return connection

    async def _listen(self, connection: Any) -> None:
        """Hear until the connection is lost, and raise why."""
        listening = self._ear = ear(connection, self._heard)
        try:
            # A command each, since the channels of one node lie in many slots; one write, since there may be thousands.
            if self.channels:
                listening.say(*(("SSUBSCRIBE", channel) for channel in self.channels))
            quiet = 0.0
            while quiet < 2 * _PING_SECONDS:
                self._is_quiet = True
                await asyncio.wait({listening.lost}, timeout=_LOOK_SECONDS)
                if listening.lost.done():
                    raise listening.lost.result()
                quiet = quiet + _LOOK_SECONDS if self._is_quiet else 0.0
                if quiet == _PING_SECONDS:
                    self._say("PING", "")
            raise StoreUnavailableError(f"Redis at {self.node.where} is silent")
        finally:
            listening.close()

    def _say(self, command: str, channel: str) -> None:
        # Where there is none, the next one begins with all the channels.
        if self._ear is not None:
            self._ear.say((command, channel))

    def _heard(self, replies: list[Any]) -> None:
        """The hot path: one call for all that the socket held."""
        self._is_quiet = False
        messages: list[tuple[bytes, bytes]] = []
        for reply in replies:
            if isinstance(reply, list) and reply[0] == b"smessage":
                messages.append((reply[1], reply[2]))  # pyright: ignore[reportUnknownArgumentType] - bytes
            else:
                self._noted(reply)
        if messages:
            self._exchange.published(messages)

    def _noted(self, reply: Any) -> None:
        match reply:
            case MovedError():
                self._exchange.moved(self, reply)
                slot = reply.slot_id
                self._exchange.displaced(self, [each for each in self.channels if key_slot(each.encode()) == slot])
            case Exception():
                raise reply
            case [b"ssubscribe", channel, _]:
                self._exchange.subscribed(channel.decode())
            case [b"sunsubscribe", channel, _] if channel is not None and channel.decode() in self.channels:
                # Nobody here asked for it: the slot has left the node. (Or a reader left and another came at once; then
                # one subscription too many does no harm.)
                self._exchange.displaced(self, [channel.decode()])
            case _:
                pass  # an answer to PING, or to somebody who left


async def _drop(connection: Any) -> None:
    try:
        await connection.disconnect(nowait=True)
    except (RedisError, OSError):
        _logger.debug("subscription_close_failed")
