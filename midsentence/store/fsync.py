"""Waits until writes are on disk, over connections that nothing else uses: WAITAOF blocks its connection."""

import asyncio
from typing import Any

from redis.exceptions import ReadOnlyError

from midsentence.store.pipeline import Pipeline
from midsentence.store.resp import Connect
from midsentence.store.scripts import command

# With `appendfsync everysec` a wait takes up to a second. Callers beyond this number wait for a free connection.
CONNECTIONS = 32
_MARK_MILLISECONDS = 60_000


class FsyncConnections:
    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Pipeline] = []
        self._open: set[Pipeline] = set()

    async def wait(self, mark: str, milliseconds: int) -> list[Any]:
        """Write the key `mark`, wait for the append-only file, and give both replies.

        WAITAOF waits for the last write of its own connection. The write that matters was sent over another
        connection, and the mark is written after it. Raises a RedisError or an OSError.
        """
        requests = (command("SET", mark, "", "PX", _MARK_MILLISECONDS), command("WAITAOF", 1, 0, milliseconds))
        data = b"".join(request.data for request in requests)
        async with self._free:
            pipeline = await self._take()
            try:
                replies = await pipeline.exchange(data, len(requests))
            except BaseException:
                # After a cancelled call, WAITAOF may still block it.
                await self._close(pipeline)
                raise
            if any(isinstance(reply, ReadOnlyError) for reply in replies):
                # It is no longer the primary, and a new connection finds the one that is.
                await self._close(pipeline)
            else:
                self._idle.append(pipeline)
            return replies

    async def aclose(self) -> None:
        for pipeline in list(self._open):
            await self._close(pipeline)
        self._idle.clear()

    async def _take(self) -> Pipeline:
        while self._idle:
            pipeline = self._idle.pop()
            if pipeline.is_open:
                return pipeline
            await self._close(pipeline)
        pipeline = Pipeline(await self._connect())
        self._open.add(pipeline)
        return pipeline

    async def _close(self, pipeline: Pipeline) -> None:
        self._open.discard(pipeline)
        await pipeline.aclose()
