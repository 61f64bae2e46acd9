"""A proxy between midsentence and Redis.

It can drop a fraction of the announcements, freeze connections, and fail at the reply to one request.
"""

import asyncio
import random
import threading
from contextlib import suppress
from typing import Any, Literal

import hiredis

from tests.support.forwarder import READ_BYTES, Connection, Forwarder

_ERROR = b"-ERR made up by a test\r\n"

# What becomes of a request or its reply. `lose`: the request is lost with all connections, and none is accepted until
# `heal`. `cut`: the same with the reply, so that Redis has executed the request. `freeze`: the reply is lost, and its
# connection stays silent. `error`: the reply is an error instead.
Failure = Literal["lose", "cut", "freeze", "error"]


class RedisProxy(Forwarder["_Connection"]):
    def __init__(self, port: int, *, loss: float = 0, seed: int = 0) -> None:
        """`loss` is the fraction of published messages that are dropped."""
        super().__init__(port)
        self.lost = self.delivered = 0
        self._loss = loss
        self._chance = random.Random(seed)
        self._fatal = b""
        self._failure: Failure = "cut"
        self.has_failed = threading.Event()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def connect(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> "_Connection":
        return _Connection(self, client, server)

    def freeze_subscriptions(self) -> int:
        """Drop all data of the connections that are subscribed now, in both directions. Returns their number."""
        frozen = [connection for connection in list(self.connections) if connection.subscribed]
        for connection in frozen:
            connection.frozen = True
        return len(frozen)

    def fail_at(self, text: bytes, failure: Failure) -> None:
        """Fail at the next request that contains this text. `has_failed` is set when that has happened."""
        self.has_failed.clear()
        self._fatal, self._failure = text, failure

    def heal(self) -> None:
        """Accept connections again."""
        self.is_cut = False

    def failure_at(self, data: bytes) -> Failure | None:
        if not self._fatal or self._fatal not in data:
            return None
        self._fatal = b""
        return self._failure

    def cut(self) -> None:
        self.is_cut = True
        for connection in list(self.connections):
            connection.reset()

    @property
    def subscribed(self) -> int:
        """The number of subscribed connections that are not frozen."""
        return sum(connection.subscribed and not connection.frozen for connection in list(self.connections))

    def is_lost(self) -> bool:
        lost = self._chance.random() < self._loss
        self.lost += lost
        self.delivered += not lost
        return lost


class _Connection(Connection):
    def __init__(self, proxy: RedisProxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        super().__init__(client, server)
        self.frozen = self.subscribed = False
        self._proxy = proxy
        self._failure: Failure | None = None
        self._replies = hiredis.Reader()

    async def upward(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                self.subscribed = self.subscribed or b"SSUBSCRIBE" in data
                self._failure = self._proxy.failure_at(data) or self._failure
                if self._failure == "lose":
                    self._fail(self._failure)
                    return
                if not self.frozen:
                    self.server.write(data)
        # The end of a frozen connection is not forwarded either.
        if not self.frozen:
            self.close()

    async def downward(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if self._failure is not None:
                    self._fail(self._failure)
                elif not self.frozen:
                    self.client.write(self._without_lost(data) if self.subscribed else data)
        if not self.frozen:
            self.close()

    def _fail(self, failure: Failure) -> None:
        match failure:
            case "lose" | "cut":
                self._proxy.cut()
            case "freeze":
                self.frozen = True
            case "error":
                # Before the test can have the reply that this brings.
                self._proxy.has_failed.set()
                self.client.write(_ERROR)
        self._failure = None
        self._proxy.has_failed.set()

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def _without_lost(self, data: bytes) -> bytes:
        """The data without the lost announcements. A subscribed connection gets only lists of strings and numbers."""
        self._replies.feed(data)
        left = b""
        while (reply := self._replies.gets()) is not False:
            if not (isinstance(reply, list) and reply[0] == b"smessage" and self._proxy.is_lost()):
                left += encoded(reply)  # pyright: ignore[reportUnknownArgumentType]
        return left


def encoded(reply: Any) -> bytes:
    match reply:
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(encoded, reply))  # pyright: ignore[reportUnknownArgumentType]
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(reply), reply)
        case _:
            return b"$-1\r\n"
