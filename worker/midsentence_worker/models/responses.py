"""OpenAI Responses in background mode: an answer is written whether anybody listens or not."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

import openai
from openai.types.responses import EasyInputMessageParam

from midsentence.settings import Settings
from midsentence_worker.models.background_response import Background, Events
from midsentence_worker.models.base import CannotResumeError, Message, Piece, Takeover
from midsentence_worker.models.client import Provider
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.place import Place

CANCEL_SECONDS: Final = 5.0


class ResponsesModel:
    def __init__(self, settings: Settings) -> None:
        self._provider = Provider(settings)
        # Cancellations of answers that nobody will listen to.
        self._letting_go: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self._provider.model

    @property
    def takeover(self) -> Takeover:
        return "reattach"

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        """Ask, or go on behind a mark.

        Once a mark was yielded, closing the generator only detaches: the answer is written on for whoever has the mark,
        and `cancel` ends it. Before that nobody could find it again, so it is cancelled.

        Raises ModelError, and CannotResumeError before any piece.
        """
        if mark:
            background = Background(self._provider, Place.of(mark))
        elif messages and messages[-1].role == "assistant":
            raise CannotResumeError("a response does not go on from a partial message")
        else:
            background = await self._provider.asked(lambda: self._begun(messages))
        try:
            async with aclosing(background.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
        except ModelError:
            # The turn ends with this, and nobody comes back for the rest.
            if not background.over:
                self._let_go(self._cancelled(background.place))
            raise

    async def cancel(self, mark: str) -> None:
        """End the answer that a mark names; one that has ended is fine. Raises ModelError."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._provider.asked(lambda: self._cancelled_at_once(Place.of(mark).response_id))
        except TimeoutError as error:
            raise self._provider.complaints.not_cancelled(CANCEL_SECONDS) from error

    async def aclose(self) -> None:
        await asyncio.gather(*self._letting_go, return_exceptions=True)
        await self._provider.aclose()

    async def _begun(self, messages: Sequence[Message]) -> Background:
        opening = asyncio.create_task(self._opened(messages))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._let_go(self._cancelled_when_known(opening))
            raise

    async def _opened(self, messages: Sequence[Message]) -> Background:
        """Ask, and read until the response has a name."""
        events = await self._provider.client.responses.create(
            model=self._provider.model,
            instructions="\n\n".join(message.text for message in messages if message.role == "system") or openai.omit,
            input=[
                EasyInputMessageParam(role=message.role, content=message.text)
                for message in messages
                if message.role != "system"
            ],
            background=True,
            store=True,
            stream=True,
        )
        try:
            return await self._named(events)
        except BaseException:
            await events.close()
            raise

    async def _named(self, events: Events) -> Background:
        try:
            async for event in events:
                response_id = getattr(getattr(event, "response", None), "id", None)
                number = getattr(event, "sequence_number", None)
                if isinstance(response_id, str):
                    # One less, so that this event counts as new.
                    place = Place(response_id, number - 1 if isinstance(number, int) else None)
                    return Background(self._provider, place, events, [event])
                if event.type == "error":
                    raise self._provider.complaints.reported(event)
        except openai.APIConnectionError:
            raise
        except (openai.OpenAIError, ValueError) as error:
            raise self._provider.complaints.during(error) from error
        raise self._provider.complaints.empty(events.response)

    def _let_go(self, letting_go: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(letting_go)
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    async def _cancelled_when_known(self, opening: asyncio.Task[Background]) -> None:
        with suppress(ModelError, openai.OpenAIError, UnicodeEncodeError, TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                background = await opening
            await background.detach()
            await self._cancelled(background.place)

    async def _cancelled(self, place: Place) -> None:
        with suppress(ModelError):
            await self.cancel(place.mark.value)

    async def _cancelled_at_once(self, response_id: str) -> None:
        # Providers refuse to cancel what has ended, each with a status of its own.
        with suppress(openai.BadRequestError, openai.NotFoundError, openai.ConflictError):
            await self._provider.client.responses.cancel(response_id)
