"""What a subscribed connection hears, all that its socket holds at a time."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from midsentence.store.resp import Wire, pack

# As `take` in wire.py.
Heard = Callable[[list[Any]], None]


class Ear(Protocol):
    @property
    def lost(self) -> asyncio.Future[Exception]:
        """Resolves with why nothing more will be heard."""
        ...

    def say(self, *commands: tuple[str, str]) -> None:
        """Send commands. A connection that cannot take them is lost, and says so there."""

    def close(self) -> None: ...


class SocketEar:
    def __init__(self, connection: Any, heard: Heard) -> None:
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._wire = Wire(connection, heard, self.lost.set_result)

    def say(self, *commands: tuple[str, str]) -> None:
        self._wire.write(b"".join(pack(command) for command in commands))

    def close(self) -> None:
        self._wire.end(RedisConnectionError("closed"))


class PolledEar:
    def __init__(self, connection: Any, heard: Heard) -> None:
        self._connection = connection
        self._heard = heard
        self.lost = asyncio.ensure_future(self._listen())
        self._said: set[asyncio.Future[None]] = set()

    def say(self, *commands: tuple[str, str]) -> None:
        for command in commands:
            saying = asyncio.ensure_future(self._connection.send_command(*command))
            self._said.add(saying)
            saying.add_done_callback(self._said.discard)

    def close(self) -> None:
        self.lost.cancel()

    async def _listen(self) -> Exception:
        try:
            while True:
                self._heard([await self._connection.read_response()])
        except (RedisError, OSError) as error:
            return error


def ear(connection: Any, heard: Heard) -> Ear:
    """Listen on a redis-py connection that stands, from now on alone."""
    return SocketEar(connection, heard) if Wire.fits(connection) else PolledEar(connection, heard)
