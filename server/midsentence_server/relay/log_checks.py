"""Compares feeds with their logs, so that a log is read only where events or waiting messages were missed.

A read costs this process half a millisecond, and thousands of streams may be silent at once, or get their subscription
back at once.
"""

import asyncio
from itertools import islice

import structlog

from midsentence.log import SessionLog
from midsentence_server.relay.feed import Feed

# Feeds that are compared, and logs that are then read, before others of the same server: no other stream waits longer
# than for these.
BATCH = 32

_logger = structlog.get_logger()


class LogChecks:
    def __init__(self, log: SessionLog) -> None:
        self._log = log
        # By Redis server, because one that does not answer must not delay the feeds of the others.
        self._waiting: dict[object, dict[Feed, None]] = {}
        self._tasks: dict[object, asyncio.Task[None]] = {}

    def add(self, feed: Feed) -> None:
        """Compare this feed soon, by `Feed.compare`."""
        (server,) = self._log.servers_of([feed.session_id])
        self._waiting.setdefault(server, {})[feed] = None
        if server not in self._tasks:
            # It begins when all feeds that are due now were added.
            self._tasks[server] = asyncio.create_task(self._run(server))

    async def _run(self, server: object) -> None:
        waiting = self._waiting[server]
        try:
            while waiting:
                batch = list(islice(waiting, BATCH))
                for feed in batch:
                    del waiting[feed]
                await self._compare(batch)
        finally:
            del self._tasks[server], self._waiting[server]

    async def _compare(self, feeds: list[Feed]) -> None:
        marks = [feed.begin_read() for feed in feeds]
        try:
            heads = await self._log.heads([feed.session_id for feed in feeds])
        except Exception:
            _logger.exception("check_failed")
            reads = [feed.refresh() for feed in feeds]
        else:
            checked = zip(feeds, heads, marks, strict=True)
            reads = [read for feed, head, mark in checked if (read := feed.compare(head, mark)) is not None]
        if reads:
            await asyncio.wait(reads)
