"""The body of a provider's response, as the bytes arrive.

The SDK sends the request. Its HTTP client would pass each read through five generators and two time-outs, which costs
more than all that is done with the bytes, so the body is read from aiohttp's own buffer.
"""

import asyncio
from contextlib import suppress
from typing import Any

import aiohttp
import httpx2
from aiohttp.http_exceptions import HttpProcessingError

from midsentence_worker.models.errors import StreamBrokenError, StreamStalledError
from midsentence_worker.models.patience import stood_still
from midsentence_worker.models.stream_poller import StreamPoller

# What one read returns at most. A worker whose streams bring more than it can process gives each turn this much of its
# event loop at a time, so that flushes, renewals and the other turns keep their time.
_READ_BYTES = 4096
# What a broken connection raises: the errors of aiohttp, of its HTTP parser and of httpx2, and the socket's own.
# aiohttp raises RuntimeError for a read after the connection was closed.
BREAKS = (aiohttp.ClientError, HttpProcessingError, httpx2.HTTPError, httpx2.StreamError, OSError, RuntimeError)
# aiohttp closes a connection whose framing is broken and tells no reader of it, so each connection is looked at.
_LOOK_SECONDS = 1.0


class ByteStream:
    """The body of one response. Silence is measured only while somebody waits in `read`."""

    def __init__(self, response: httpx2.Response, patience: float, poller: StreamPoller) -> None:
        """`patience`: seconds of silence after which `read` raises StreamStalledError."""
        # Until when the poller waits for the stream. See `PolledStream`.
        self.polled_until = 0.0
        self._response = response
        self._poller = poller
        self._poll_seconds = 0.0
        # Bytes that were read.
        self._taken = 0
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._body = _aiohttp_response(response)
        self._decoded = None if self._body else response.aiter_bytes()
        self._waits_since: float | None = None
        self._has_stalled = False
        # One timer for the stream, not one for each read: it looks at `_waits_since` and sleeps again.
        self._look_at(self._loop.time() + min(patience, _LOOK_SECONDS))

    @property
    def content_type(self) -> str:
        return self._response.headers.get("content-type", "")

    @property
    def has_news(self) -> bool:
        """See `PolledStream`."""
        if self._body is None:
            return True
        content = self._body.content
        return content.total_bytes != self._taken or content.is_eof() or content.exception() is not None

    def pace(self) -> None:
        """From now on read at the worker's ticks: what is read is not needed before them."""
        if not self._poll_seconds and self._poller.seconds:
            self._poll_seconds = self._poller.seconds
            self._poller.streams += 1
            self.polled_until = self._loop.time() + self._poll_seconds

    async def read(self) -> bytes:
        """The next bytes, or none at the end. Raises StreamStalledError and StreamBrokenError."""
        if self._body is None:
            return await self._read_decoded()
        content = self._body.content
        self._waits_since = now = self._loop.time()
        if now < self.polled_until and content.total_bytes == self._taken and self._poller.is_worthwhile:
            await self._poller.wait(self)
        try:
            data = await content.read(_READ_BYTES)
        except BREAKS as error:
            # aiohttp raises the error before it returns the bytes that came ahead of it. They are read first.
            data = self._buffered()
            if not data:
                raise (StreamStalledError if self._has_stalled else StreamBrokenError)(str(error)) from error
        self._waits_since = None
        self._taken += len(data)
        if self._poll_seconds:
            self.polled_until = self._loop.time() + self._poll_seconds
        if len(data) == _READ_BYTES:
            # More may be buffered, and then the next read would not wait.
            await asyncio.sleep(0)
        return data

    async def read_to_end(self, seconds: float) -> None:
        """Read what is left, for at most `seconds`, so that the connection can be used again."""
        with suppress(TimeoutError, StreamStalledError, StreamBrokenError):
            async with asyncio.timeout(seconds):
                while await self.read():
                    pass

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end."""
        self._alarm.cancel()
        if self._poll_seconds:
            self._poll_seconds = 0.0
            self._poller.streams -= 1
        with suppress(*BREAKS):
            await self._response.aclose()

    async def _read_decoded(self) -> bytes:
        """Read through httpx2, which also decompresses."""
        try:
            async with asyncio.timeout(self._patience):
                return await anext(self._decoded, b"") if self._decoded else b""
        except TimeoutError as error:
            raise StreamStalledError from error
        except BREAKS as error:
            raise StreamBrokenError(str(error)) from error

    def _buffered(self) -> bytes:
        """The bytes that aiohttp still has after an error. The method is private: see test_openai_reaches.py."""
        content: Any = self._body.content if self._body is not None else None
        return content._read_nowait(-1)  # noqa: SLF001

    def _look_at(self, due: float) -> None:
        self._alarm_due = due
        self._alarm = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        since, now = self._waits_since, self._loop.time()
        if since is not None and stood_still(self._alarm_due, now):
            since = self._waits_since = now
        due = (now if since is None else since) + self._patience
        if self._body is None:
            return
        if since is not None and _is_closed(self._body):
            self._body.close()
        elif due > now:
            self._look_at(min(due, now + _LOOK_SECONDS))
        else:
            self._has_stalled = True
            self._body.close()


def _is_closed(response: aiohttp.ClientResponse) -> bool:
    connection = response.connection
    return connection is not None and (connection.transport is None or connection.transport.is_closing())


def _aiohttp_response(response: httpx2.Response) -> aiohttp.ClientResponse | None:
    """The response that httpx2 wraps, or None where its body has to be decompressed or comes from another transport."""
    if response.headers.get("content-encoding", "identity") != "identity":
        return None
    stream: Any = response.stream
    # Both attributes are private; test_openai_reaches.py holds that they are there.
    inner = getattr(getattr(stream, "_stream", None), "_aiohttp_response", None)
    return inner if isinstance(inner, aiohttp.ClientResponse) else None
