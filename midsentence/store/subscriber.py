"""The subscriptions to one Redis node: a connection that is opened again for as long as there are channels."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import structlog
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError, ResponseError

from midsentence.errors import StoreUnavailableError
from midsentence.store.node import Node
from midsentence.store.resp import RespConnection, Socket, pack

# A connection whose packets are dropped looks like an idle one: after this time without data it gets a PING, and after
# as long again without an answer it is closed.
_PING_SECONDS = 4.0
_CHECK_SECONDS = 1.0
# redis-py's own time-outs count each try separately.
_CONNECT_SECONDS = 5.0
# Pauses before the connection is opened again. A refusal (no such command, no right to a channel) lasts until a person
# has repaired it.
_BACK_OFF_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)
_BACK_OFF_AFTER_REFUSAL_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0)
# A connection that is lost sooner than this after Redis confirmed its subscriptions counts as another failure.
_STABLE_SECONDS = 5.0
# While the failures last, they are logged once, and then at most this often.
_REMINDER_SECONDS = 60.0

_logger = structlog.get_logger()


class Events(NamedTuple):
    """What a subscriber calls."""

    # (channel, payload) of all messages that one read of the socket completed, in order.
    published: Callable[[list[tuple[bytes, bytes]]], None]
    # Redis confirmed a subscription.
    subscribed: Callable[[str], None]
    # These channels are no longer served here. With a MOVED, the node named the one that serves them now.
    moved: Callable[["Subscriber", Iterable[str], MovedError | None], None]
    # The connection was lost, and other nodes may serve its channels now.
    lost: Callable[["Subscriber"], Awaitable[None]]


class Subscriber:
    def __init__(
        self, node: Node, events: Events, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.node = node
        self.channels: set[str] = set()
        self._sleep = sleep
        # Channels of this connection that Redis has not confirmed yet.
        self._unconfirmed: set[str] = set()
        self._confirmed_at = float("inf")
        # Whether a loss was logged, so that its end is too.
        self._is_reported_lost = False
        self._events = events
        self._published = events.published
        self._connection: RespConnection | None = None
        self._is_idle = True

    def subscribe(self, channel: str) -> None:
        self.channels.add(channel)
        self._send("SSUBSCRIBE", channel)

    def unsubscribe(self, channel: str) -> None:
        self.channels.discard(channel)
        self._send("SUNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Receive messages, over one connection after another, until one is lost while there are no channels."""
        failures = 0
        silent_seconds = _REMINDER_SECONDS
        while True:
            error = await self._lost()
            if self._was_stable:
                failures = 0
            if silent_seconds >= _REMINDER_SECONDS or (not failures and not self._is_reported_lost):
                _logger.warning("subscription_lost", error=str(self.node.refusal(error)), failures=failures + 1)
                self._is_reported_lost = True
                silent_seconds = 0.0
            await self._events.lost(self)
            if not self.channels:
                return
            pauses = _BACK_OFF_AFTER_REFUSAL_SECONDS if isinstance(error, ResponseError) else _BACK_OFF_SECONDS
            pause = pauses[min(failures, len(pauses) - 1)]
            await self._sleep(pause)
            silent_seconds += pause
            failures += 1

    async def _lost(self) -> Exception:
        """Connect and receive until the connection is lost. Returns the reason."""
        self._confirmed_at = float("inf")
        try:
            return await self._receive(await self._connect())
        except (RedisError, OSError, StoreUnavailableError) as error:
            return error

    @property
    def _was_stable(self) -> bool:
        return asyncio.get_running_loop().time() - self._confirmed_at >= _STABLE_SECONDS

    async def _connect(self) -> Socket:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await self.node.connect()
        except TimeoutError as error:
            raise StoreUnavailableError(f"Redis at {self.node.address} does not answer a subscriber") from error

    async def _receive(self, socket: Socket) -> Exception:
        """Receive until the connection is lost. Returns the reason."""
        lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        connection = self._connection = RespConnection(socket, self._received, lost.set_result)
        try:
            # A command for each channel, since the channels of one node are in many slots; one write for all, since
            # there may be thousands.
            self._unconfirmed = set(self.channels)
            if self.channels:
                connection.write(b"".join(pack(("SSUBSCRIBE", channel)) for channel in self.channels))
            idle_seconds = 0.0
            while idle_seconds < 2 * _PING_SECONDS:
                self._is_idle = True
                await asyncio.wait({lost}, timeout=_CHECK_SECONDS)
                if lost.done():
                    return lost.result()
                idle_seconds = idle_seconds + _CHECK_SECONDS if self._is_idle else 0.0
                if idle_seconds == _PING_SECONDS:
                    self._send("PING", "")
            return StoreUnavailableError(f"Redis at {self.node.address} is silent")
        finally:
            self._connection = None
            await connection.aclose()

    def _send(self, command: str, channel: str) -> None:
        # Without a connection there is nothing to send: the next one subscribes to all channels.
        if self._connection is not None:
            self._connection.write(pack((command, channel)))

    def _received(self, replies: list[Any]) -> None:
        """The hot path: one call for each read of the socket."""
        self._is_idle = False
        messages: list[tuple[bytes, bytes]] = []
        for reply in replies:
            if isinstance(reply, list) and reply[0] == b"smessage":
                messages.append((reply[1], reply[2]))  # pyright: ignore[reportUnknownArgumentType] - bytes
            else:
                self._handle(reply)
        if messages:
            self._published(messages)

    def _confirmed(self) -> None:
        self._confirmed_at = asyncio.get_running_loop().time()
        if self._is_reported_lost:
            _logger.info("subscription_restored", redis=self.node.address)
            self._is_reported_lost = False

    def _handle(self, reply: Any) -> None:
        match reply:
            case MovedError():
                slot = reply.slot_id
                channels = [each for each in self.channels if key_slot(each.encode()) == slot]
                self._unconfirmed.difference_update(channels)
                self._events.moved(self, channels, reply)
            case Exception():
                raise reply
            case [b"ssubscribe", name, _]:
                channel = name.decode()
                self._events.subscribed(channel)
                self._unconfirmed.discard(channel)
                # All of them: one that is refused costs the others their connection.
                if not self._unconfirmed and self._confirmed_at == float("inf"):
                    self._confirmed()
            case [b"sunsubscribe", channel, _] if channel is not None and channel.decode() in self.channels:
                # We did not ask for it: the slot was moved to another node. (Or a channel was unsubscribed and
                # subscribed again at once; then one subscription too many does no harm.)
                self._events.moved(self, [channel.decode()], None)
            case _:
                pass  # the answer to a PING, or to an unsubscription
