"""Many visitors in one process: they repeat POSTs with a key, and read as an EventSource does."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any, NamedTuple

from tests.support.client import Lines, Parser, SentEvent
from tests.support.http_client import Address, exchange

# Statuses that are retried like a missing reply: the request may have been executed all the same.
_RETRIED = frozenset({502, 503, 504})


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RetryCounts:
    """How often visitors had to repeat something."""

    repeated: int = 0  # requests
    resumed: int = 0  # streams, with a cursor
    refused: int = 0  # streams without a reply, or with a status other than 200 and 204


class AsyncVisitor:
    """A visitor with a cookie of its own. `choose_server` names the server of each request."""

    def __init__(
        self,
        choose_server: Callable[[], Address],
        chance: random.Random,
        *,
        reply_timeout: float = 5,
        silence_timeout: float = 5,
        retries: RetryCounts | None = None,
    ) -> None:
        """`reply_timeout` is in seconds. A stream without data for `silence_timeout` seconds is broken off."""
        self.retries = retries or RetryCounts()
        self._choose_server = choose_server
        self._chance = chance
        self._reply_timeout = reply_timeout
        self._silence_timeout = silence_timeout
        self._cookie = ""

    async def get_cookie(self) -> None:
        """Get a cookie before the first POST: without one, a repeated POST would be another visitor's."""
        while not self._cookie:
            reply = await self.request("GET", "/")
            held = SimpleCookie(reply.headers.get("set-cookie", "")).get("midsentence")
            if held is None:
                await self.pause()
            else:
                self._cookie = f"midsentence={held.value}"

    async def request(
        self, method: str, path: str, body: object = None, *, key: str = "", reply_timeout: float | None = None
    ) -> Reply:
        """Send a request, and repeat it with the same key until it is answered. Raises AssertionError for a 500."""
        headers = {"cookie": self._cookie} if self._cookie else {}
        if key:
            headers["idempotency-key"] = key
        if body is not None:
            headers["content-type"] = "application/json"
        encoded = b"" if body is None else json.dumps(body).encode()
        while True:
            address = self._choose_server()
            try:
                limit = reply_timeout or self._reply_timeout
                # The read timeout alone would not end a reply that arrives byte by byte.
                async with (
                    asyncio.timeout(2 * limit),
                    exchange(address, method, path, headers, encoded, read_timeout=limit) as response,
                ):
                    reply = Reply(response.status, response.headers, await response.body())
            except OSError:
                reply = None
            assert reply is None or reply.status != 500, f"{method} {path} at {address}: {reply}"
            if reply is not None and reply.status not in _RETRIED:
                return reply
            self.retries.repeated += 1
            await self.pause()

    async def read_events(
        self, session_id: str, cursor: str | None, take: Callable[[SentEvent], bool], *, until_end: bool = False
    ) -> int:
        """Read the events of one connection until it is closed, or until `take` returns True.

        Returns the status, or 0 if there was none or the connection broke. The caller reconnects after a 0.
        """
        headers = {"cookie": self._cookie, "accept": "text/event-stream"}
        if cursor is not None:
            headers["last-event-id"] = cursor
        path = f"/sessions/{session_id}/events" + ("?until=end" if until_end else "")
        status = 0
        lines, parser = Lines(), Parser()
        try:
            async with exchange(
                self._choose_server(), "GET", path, headers, read_timeout=self._silence_timeout
            ) as response:
                status = response.status
                if status == 200 and cursor is not None:
                    self.retries.resumed += 1
                while status == 200 and (chunk := await response.chunk()):
                    for line in lines.feed(chunk):
                        event = parser.feed(line)
                        if event is not None and take(event):
                            return status
        except OSError:
            status = 0
        if status not in {200, 204}:
            self.retries.refused += 1
        return status

    async def pause(self) -> None:
        """Wait before the next attempt, at random so that visitors do not retry together."""
        await asyncio.sleep(self._chance.uniform(0.05, 0.4))
