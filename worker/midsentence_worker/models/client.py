"""What both APIs share: the SDK's client, and retries of requests that have not begun to answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx2
import openai

from midsentence.settings import Settings
from midsentence_worker.models import retry
from midsentence_worker.models.error_messages import ErrorMessages

_OPENAI_URL = "https://api.openai.com/v1"
# Shorter than a lease, so that the worker that tried an address which drops packets still reports it.
_CONNECT_SECONDS = 5.0

_Reply = TypeVar("_Reply")


class ModelClient:
    def __init__(self, settings: Settings, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        address = settings.openai_base_url or _OPENAI_URL
        self.model = settings.model_name
        self.errors = ErrorMessages(settings, address)
        timeout = httpx2.Timeout(settings.model_timeout_seconds, connect=_CONNECT_SECONDS, pool=None)
        self.sdk = openai.AsyncOpenAI(
            # Local servers need no key; the SDK insists on one.
            api_key=settings.openai_api_key or "none",
            base_url=address,
            # The SDK's own retries would wait three times for a silent model, and two minutes for a busy one.
            max_retries=0,
            # The worker limits how many turns run; a limit on connections would be a second, invisible queue.
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=timeout, limits=httpx2.Limits(max_connections=None), transport=transport
            ),
        )

    def scripted(self, stream: bytes) -> "ModelClient":
        """Make a client with the same settings that gets this event stream for every request, from no server."""
        headers = {"Content-Type": "text/event-stream"}
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=stream))
        return ModelClient(self._settings, transport)

    async def with_retries(self, request: Callable[[], Awaitable[_Reply]]) -> _Reply:
        """Send a request, and again where `retry` says that this may help. Raises ModelError."""
        attempt = 0
        while True:
            try:
                return await request()
            except (openai.OpenAIError, UnicodeEncodeError) as error:
                pause = retry.pause(error, attempt) if isinstance(error, openai.OpenAIError) else None
                if pause is None:
                    raise self.errors.of_request(error) from error
            await asyncio.sleep(pause)
            attempt += 1

    async def aclose(self) -> None:
        await self.sdk.close()
