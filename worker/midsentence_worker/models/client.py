"""What every way of asking shares: the client, and asking again where nothing was answered yet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx2
import openai

from midsentence.settings import Settings
from midsentence_worker.models import retry
from midsentence_worker.models.error_messages import Complaints

OPENAI_URL: Final = "https://api.openai.com/v1"
# Less than a lease lasts, so that an address that swallows packets is reported by the worker that tried it.
CONNECT_SECONDS: Final = 5.0

_Reply = TypeVar("_Reply")


class Provider:
    def __init__(self, settings: Settings) -> None:
        address = settings.openai_base_url or OPENAI_URL
        self.model: Final = settings.model_name
        self.complaints: Final = Complaints(settings, address)
        timeout = httpx2.Timeout(settings.model_timeout_seconds, connect=CONNECT_SECONDS, pool=None)
        self.client: Final = openai.AsyncOpenAI(
            # Local servers want none; the SDK insists on one.
            api_key=settings.openai_api_key or "none",
            base_url=address,
            # The SDK's own retries would wait three times for a silent model, and two minutes for a busy one.
            max_retries=0,
            # The worker bounds its turns; another bound here would be a queue that nobody sees.
            http_client=openai.DefaultAsyncHttpxClient(timeout=timeout, limits=httpx2.Limits(max_connections=None)),
        )

    async def asked(self, ask: Callable[[], Awaitable[_Reply]]) -> _Reply:
        """Ask, and again where that may help. Raises ModelError."""
        attempt = 0
        while True:
            try:
                return await ask()
            except (openai.OpenAIError, UnicodeEncodeError) as error:
                pause = retry.pause(error, attempt) if isinstance(error, openai.OpenAIError) else None
                if pause is None:
                    raise self.complaints.before(error) from error
            await asyncio.sleep(pause)
            attempt += 1

    async def aclose(self) -> None:
        await self.client.close()
