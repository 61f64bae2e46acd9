"""The cost of an event in the server, from Redis' socket to the readers' sockets, in calls of functions."""

import asyncio
from typing import Any, cast

import pytest

from midsentence.events import Delta, encode
from midsentence.ids import EventId, new_session_id
from midsentence.log import Access, SessionLog, View
from midsentence.store.resp import RespConnection
from midsentence.store.subscriber import Subscriber
from midsentence.store.subscriptions import Subscriptions
from midsentence_server.relay.dialects import Native
from midsentence_server.relay.feed import Feed
from midsentence_server.relay.log_checks import LogChecks
from midsentence_server.relay.reader import Reader
from midsentence_server.relay.sinks import SocketSink
from tests.support.call_counter import count_calls
from tests.support.keys import KEYS
from tests.support.memory_socket import MemorySocket

pytestmark = pytest.mark.anyio

SESSIONS, EVENTS = 20, 50
# Calls of Python and C functions for an event that arrives alone and goes to one reader, and for each further reader.
# One of them is the write.
BUDGET, BUDGET_PER_READER = 35, 3.5
# For each event where ten of each session arrive in one read of Redis' socket: each is parsed and kept, and all of a
# session are written together.
BUDGET_TOGETHER = 18


class Socket(asyncio.Transport):
    writes = 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        del data
        self.writes += 1


def message(session_id: str, seq: int) -> bytes:
    """One message as Redis publishes it."""
    before, last = EventId(1, 1, seq - 1), EventId(1, 1, seq)
    payload = f"{before} {last} -\n".encode() + encode(last, "delta", Delta(" token").encoded())
    words = (b"smessage", KEYS.session(session_id).live.encode(), payload)
    return b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Log:
    """In every session a turn is running, at its first event."""

    async def read(self, session_id: str, cursor: EventId | None = None, *, window: bool = False) -> View:
        del session_id, window
        at = EventId(1, 1, 0)
        access = Access("ann", "chat", "")
        return View(access, "streaming", 1, at, "", None, [], at if cursor is None else cursor, [], None)


class Relay:
    """Redis' socket, its subscriber, and the sockets of all readers."""

    def __init__(self) -> None:
        self.live = Subscriptions(cast("Any", None))
        subscriber = Subscriber(cast("Any", None), self.live._events)  # pyright: ignore[reportPrivateUsage]
        received = subscriber._received  # pyright: ignore[reportPrivateUsage]
        self.connection = RespConnection(MemorySocket(), received, lambda _: None)
        self.sessions = [new_session_id(16) for _ in range(SESSIONS)]
        self.sockets: list[Socket] = []

    async def open(self, readers: int) -> None:
        for session_id in self.sessions:
            log = cast("SessionLog", Log())
            feed = Feed(session_id, log, LogChecks(log), ping_seconds=15, replay_seconds=300, redis_timeout_seconds=5)
            self.live.listen([KEYS.session(session_id).live], feed)
            feed.subscribed()
            for _ in range(readers):
                first = await feed.find(b"1.1-0", until_end=False)
                socket = Socket()
                reader = Reader(feed, Native("ann"), SocketSink(socket, b"", 30), until_end=False)
                reader.start(b": hello\n\n", first)
                self.sockets.append(socket)

    @property
    def writes(self) -> int:
        return sum(socket.writes for socket in self.sockets)


async def relayed(readers: int, together: int = 1) -> tuple[float, int]:
    """(calls per event, writes per reader) where this many messages of each session arrive together."""
    relay = Relay()
    await relay.open(readers)
    pieces = [
        b"".join(message(session, seq) for seq in range(first, first + together))
        for first in range(1, EVENTS + 1, together)
        for session in relay.sessions
    ]
    before = relay.writes
    with count_calls() as calls:
        for piece in pieces:
            relay.connection.data_received(piece)
    return calls.count / (EVENTS * SESSIONS), (relay.writes - before) // len(relay.sockets)


async def test_an_event_stays_within_its_budget_of_calls() -> None:
    """A task for each event and reader, or frames encoded for each reader, would exceed it."""
    calls, writes = await relayed(readers=1)
    assert writes == EVENTS
    assert calls <= BUDGET


async def test_each_further_reader_costs_little_more_than_its_write() -> None:
    one, _ = await relayed(readers=1)
    eleven, writes = await relayed(readers=11)
    assert writes == EVENTS
    assert (eleven - one) / 10 <= BUDGET_PER_READER


async def test_a_burst_is_cheaper_for_each_event_and_one_write() -> None:
    calls, writes = await relayed(readers=1, together=10)
    assert writes == EVENTS / 10
    assert calls <= BUDGET_TOGETHER
