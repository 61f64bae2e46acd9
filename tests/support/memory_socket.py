"""A socket in memory whose peer is the test. `midsentence.store` gets it instead of a socket of redis-py."""

import asyncio
from collections.abc import Callable
from typing import Any, cast


class MemorySocket(asyncio.Transport):
    def __init__(self, reply: Callable[[bytes], bytes] = lambda _: b"") -> None:
        """`reply` returns the reply to a write, which is delivered in the loop's next iteration, or nothing."""
        super().__init__()
        self.transport = self
        self.written: list[bytes] = []
        self.closed = False
        self._reply = reply

    @property
    def has_request(self) -> bool:
        return bool(self.written) and bool(self.written[-1])

    def deliver(self, data: bytes) -> None:
        """Deliver data from the peer."""
        self._protocol.data_received(data)

    def lose(self, error: Exception) -> None:
        self._protocol.connection_lost(error)

    async def aclose(self) -> None:
        self.closed = True

    # asyncio.Transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: Any) -> None:
        if self.closed:
            # uvloop raises the same.
            raise RuntimeError("the handler is closed")
        self.written.append(data)
        if answer := self._reply(data):
            asyncio.get_running_loop().call_soon(self._protocol.data_received, answer)

    def abort(self) -> None:
        self.closed = True
