"""A response that does not arrive as it was written: cut, reset, silent, ended by an error, or byte by byte."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tools.provider.faults import ERRORS, Spoiling

# So many writes go byte by byte, from the spoilt one on.
_SLOW_WRITES = 6
# After so many single bytes comes a pause, longer than a worker waits between two reads of a stream.
_BYTES_PER_PAUSE = 61
_PAUSE_SECONDS = 0.04


class SpoiltWriter:
    """Does as an `asyncio.StreamWriter` until the fault. What is written before each `drain` counts as one write."""

    def __init__(
        self, writer: asyncio.StreamWriter, spoiling: Spoiling, position: float, spoil: Callable[[], Awaitable[None]]
    ) -> None:
        """`position` counts writes: 7.5 is the middle of the eighth. `spoil` is awaited in front of the fault."""
        self._writer = writer
        self._spoiling = spoiling
        # An error comes as an event, which needs a head in front of it.
        self._position = max(1.0, position) if spoiling in ERRORS else position
        self._spoil = spoil
        self._pending = bytearray()
        self._writes = 0

    def write(self, data: bytes) -> None:
        self._pending += data

    async def drain(self) -> None:
        """Raises ConnectionAbortedError where the fault ended the response."""
        data = bytes(self._pending)
        self._pending.clear()
        write, share = divmod(self._position, 1)
        number, self._writes = self._writes, self._writes + 1
        if self._spoiling == "slow bytes":
            await self._send_slowly(number - int(write), data)
        elif number == write:
            part = data[: int(share * len(data))]
            if b"data:" in part and data[len(part) :].isspace():
                # All data of the event is through, so it counts as sent: the worker reads an event without its line
                # breaks where the stream breaks off. The fault is due in front of the next write.
                self._position = write + 1
                await self._send(part)
            else:
                await self._break_off(part)
        else:
            await self._send(data)

    def close(self) -> None:
        self._writer.close()

    async def wait_closed(self) -> None:
        await self._writer.wait_closed()

    def get_extra_info(self, name: str) -> Any:
        return self._writer.get_extra_info(name)

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _send_slowly(self, number: int, data: bytes) -> None:
        if number == 0:
            await self._spoil()
        if not 0 <= number < _SLOW_WRITES:
            await self._send(data)
            return
        for at in range(len(data)):
            try:
                await self._send(data[at : at + 1])
            except ConnectionError:
                if data[at:].isspace():
                    return  # as in `drain`: the data was sent, and the next write fails
                raise
            await asyncio.sleep(0 if at % _BYTES_PER_PAUSE else _PAUSE_SECONDS)

    async def _break_off(self, part: bytes) -> None:
        await self._spoil()
        if (error := ERRORS.get(self._spoiling)) is not None:
            # Between two events, and behind it the end of a body in chunks.
            await self._send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(error), error))
        else:
            await self._send(part)
        if self._spoiling == "stall":
            await asyncio.Event().wait()  # until the client leaves
        if self._spoiling == "reset":
            # Without a linger time of zero, close() sends a FIN if no data is unread.
            no_linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        raise ConnectionAbortedError(f"spoilt: {self._spoiling}")
