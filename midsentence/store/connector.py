"""Opens sockets to one Redis with redis-py, which knows URLs, TLS, passwords, and sentinels.

The only module that uses private attributes of redis-py.
"""

import contextlib
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

if TYPE_CHECKING:
    import asyncio

# uvloop's message for a write to a closed connection, for which asyncio raises an OSError. It has no type of its own.
_HANDLE_CLOSED = "the handler is closed"


class Connector:
    def __init__(self, pool: ConnectionPool) -> None:
        """`pool` makes the connections and holds none: ours are shared by all callers."""
        # redis-py's own annotations leave half of this unknown.
        self._pool: Any = pool

    async def connect(self) -> "RedisPySocket":
        """Connect and log in. Raises a RedisError or an OSError."""
        connection = self._pool.make_connection()
        try:
            await connection.connect()
        except BaseException as error:
            # A half-open connection would stay open.
            await connection.disconnect(nowait=True)
            if isinstance(error, RuntimeError) and _HANDLE_CLOSED in str(error):
                raise RedisConnectionError("the connection was closed during the login") from error
            raise
        return RedisPySocket(connection)


class RedisPySocket:
    def __init__(self, connection: Any) -> None:
        # Kept, because redis-py closes the socket of a connection that is garbage-collected.
        self._connection = connection
        # redis-py has no public accessor.
        self.transport: asyncio.Transport = connection._writer.transport  # noqa: SLF001

    async def aclose(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)
