"""What both APIs share: the SDK's client, and retries of requests that have not begun to answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx2
import openai

from midsentence.errors import BadSettingsError
from midsentence.model_list import ModelSpec
from midsentence.settings import Settings
from midsentence_worker.models import retry
from midsentence_worker.models.base import LONGEST_PAUSE_WITHOUT_TEXT
from midsentence_worker.models.byte_stream import BREAKS, ByteStream
from midsentence_worker.models.error_messages import ErrorMessages
from midsentence_worker.models.errors import InvalidKeyError, StreamBrokenError, StreamStalledError
from midsentence_worker.models.http_client import HttpClient
from midsentence_worker.models.patience import AwakeTimeout
from midsentence_worker.models.reported_errors import ReportedError
from midsentence_worker.models.stream_poller import StreamPoller
from midsentence_worker.ticks import Ticks

# Shorter than a lease, so that the worker that tried an address which drops packets still reports it.
_CONNECT_SECONDS = 5.0

_Reply = TypeVar("_Reply")

# What a request raises: the SDK's own errors; those of the HTTP client beneath it; silence, a break, or an error of the
# provider before the stream had brought anything of an answer.
REQUEST_ERRORS = (
    openai.OpenAIError,
    *BREAKS,
    InvalidKeyError,
    TimeoutError,
    StreamStalledError,
    StreamBrokenError,
    ReportedError,
)


class ModelClient:
    def __init__(self, spec: ModelSpec, settings: Settings, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """Raises BadSettingsError where the model's address cannot be used."""
        self._settings = settings
        self.spec = spec
        self.model = spec.model
        self.has_think_tags = spec.think_tags
        try:
            url = httpx2.URL(spec.base_url)
        except httpx2.InvalidURL as error:
            # Such as a host with letters that no domain may have.
            raise BadSettingsError(
                f"{spec.set_by.base_url} cannot be used: it is no address. See docs/operations.md."
            ) from error
        self.errors = ErrorMessages(spec)
        # Local servers need no key; the SDK insists on one.
        self._key = spec.api_key or "none"
        self._patience = spec.timeout_seconds
        self._ticks = Ticks.every(settings.flush_ms / 1000)
        self._poller: StreamPoller | None = None
        self._longest_pause = retry.LONGEST_PAUSE_BEFORE_A_FALLBACK if spec.fallbacks else LONGEST_PAUSE_WITHOUT_TEXT
        self.sdk = openai.AsyncOpenAI(
            api_key=self._key,
            # aiohttp refuses a request with a password in its address and a key in its headers. The SDK would append a
            # method's path to the query.
            base_url=url.copy_with(username=None, password=None, query=None, fragment=None),
            default_query=dict(url.params.multi_items()),
            # The SDK's own retries would wait three times for a silent model, and two minutes for a busy one.
            max_retries=0,
            http_client=HttpClient(url, httpx2.Timeout(self._patience, connect=_CONNECT_SECONDS, pool=None), transport),
        )

    async def post(self, path: str, body: Mapping[str, object]) -> ByteStream:
        """Ask for a stream. Raises REQUEST_ERRORS.

        The SDK's method for the path would convert each part of the body, which takes a millisecond.
        """
        return await self._opened(self.sdk.post, path, {}, body=body)

    async def get(self, path: str, query: Mapping[str, object]) -> ByteStream:
        """Ask for a stream that the provider has already. Raises REQUEST_ERRORS."""
        return await self._opened(self.sdk.get, path, query)

    async def _opened(
        self, method: Callable[..., Awaitable[Any]], path: str, query: Mapping[str, object], **body: object
    ) -> ByteStream:
        """Send a request and wait until its answer begins, at most as long as a model may be silent."""
        # A line break in a header would end it, and a letter outside ASCII cannot be sent.
        if not (self._key.isascii() and self._key.isprintable()):
            raise InvalidKeyError
        async with AwakeTimeout(self._patience):
            response: httpx2.Response = await method(
                path,
                **body,
                # aiohttp's own time-out would set a timer for each read. A compressed stream could not be read from
                # aiohttp's buffer.
                options={
                    "timeout": httpx2.Timeout(None, connect=_CONNECT_SECONDS),
                    "headers": {"Accept-Encoding": "identity"},
                    "params": query,
                },
                # With this type the SDK returns the response itself, before its body is read.
                cast_to=httpx2.Response,
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
        if self._poller is None:
            self._poller = StreamPoller(self._ticks, asyncio.get_running_loop())
        return ByteStream(response, self._patience, self._poller)

    def scripted(self, stream: bytes) -> "ModelClient":
        """Make a client with the same settings that gets this event stream for every request, from no server."""
        headers = {"Content-Type": "text/event-stream"}
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=stream))
        return ModelClient(self.spec, self._settings, transport)

    async def with_retries(self, request: Callable[[], Awaitable[_Reply]]) -> _Reply:
        """Send a request, and again where `retry` says that this may help. Raises ModelError."""
        attempt = 0
        while True:
            try:
                return await request()
            except REQUEST_ERRORS as error:
                pause = retry.pause(error, attempt, self._longest_pause)
                if pause is None:
                    raise self.errors.of_request(error) from error
            await asyncio.sleep(pause)
            attempt += 1

    async def aclose(self) -> None:
        await self.sdk.close()
