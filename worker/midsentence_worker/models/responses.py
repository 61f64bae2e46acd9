"""OpenAI Responses in background mode: the provider writes the answer to its end, whether a worker reads it or not."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

import openai

from midsentence_worker.models.background_response import CONTENT, BackgroundResponse
from midsentence_worker.models.base import CannotResumeError, Mark, Message, Piece, Takeover
from midsentence_worker.models.client import REQUEST_ERRORS, ModelClient
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.rehearsal import rehearse
from midsentence_worker.models.reported_errors import ReportedError
from midsentence_worker.models.response_events import ResponseEvents, UnreadableEventError
from midsentence_worker.models.stream_position import StreamPosition, usable_id

_CANCEL_SECONDS = 5.0

_REHEARSAL = b"""\
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","output":[]}}

data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","delta":"."}

data: {"type":"response.completed","sequence_number":2,"response":{"id":"resp_1","status":"completed","output":[]}}

"""


class ResponsesModel:
    def __init__(self, client: ModelClient) -> None:
        self._client = client
        # Cancellations that run in the background. The event loop itself keeps no reference to a task.
        self._cancellations: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self._client.spec.name

    @property
    def takeover(self) -> Takeover:
        return self._client.spec.takeover_or("reattach")

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        """See `Model.stream`.

        Once a mark was yielded, closing the generator only closes the connection: the response can be resumed by its
        mark, and `cancel` ends it. Before that nobody could find the response again, so it is cancelled.
        """
        if mark:
            response = BackgroundResponse(self._client, StreamPosition.of(mark))
        elif messages and messages[-1].role == "assistant":
            raise CannotResumeError("a response does not continue a partial message")
        else:
            response = await self._client.with_retries(lambda: self._begun(messages))
        can_resume = bool(mark)
        try:
            async with aclosing(response.pieces()) as pieces:
                async for piece in pieces:
                    can_resume = can_resume or isinstance(piece, Mark)
                    yield piece
        except ModelError:
            if response.has_ended:
                yield Mark("")
            elif not can_resume:
                self._in_background(self._cancelled(response.position))
            raise

    async def warm_up(self) -> None:
        await rehearse(ResponsesModel(self._client.scripted(_REHEARSAL)))

    async def cancel(self, mark: str) -> None:
        """See `Model.cancel`. A response that has ended already is no error."""
        response_id = StreamPosition.of(mark).response_id
        if not response_id:
            return  # closing the connection ended the call
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._client.with_retries(lambda: self._cancel_request(response_id))
        except TimeoutError as error:
            raise self._client.errors.not_cancelled(_CANCEL_SECONDS) from error

    async def aclose(self) -> None:
        await asyncio.gather(*self._cancellations, return_exceptions=True)
        await self._client.aclose()

    async def _begun(self, messages: Sequence[Message]) -> BackgroundResponse:
        opening = asyncio.create_task(self._opened(messages))
        try:
            # Shielded, so that a cancelled turn still learns the id of the response, which it then cancels.
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._in_background(self._cancelled_when_opened(opening))
            raise
        finally:
            # As in `turn._until`: the task's exception holds this frame.
            del opening

    async def _opened(self, messages: Sequence[Message]) -> BackgroundResponse:
        """Send the request, and read until the response has an id."""
        system = "\n\n".join(text for role, text in messages if role == "system")
        body: dict[str, object] = {
            "model": self._client.model,
            "input": [{"role": role, "content": text} for role, text in messages if role != "system"],
            "background": True,
            "store": True,
            "stream": True,
        }
        if system:
            body["instructions"] = system
        events = ResponseEvents(await self._client.post("/responses", body))
        try:
            return await self._identified(events)
        except BaseException:
            await events.aclose()
            raise

    async def _identified(self, events: ResponseEvents) -> BackgroundResponse:
        """Read until the response has an id, or until its text comes without one.

        Raises ReportedError where the provider reports an error instead.
        """
        try:
            while batch := await events.read():
                for at, event in enumerate(batch):
                    if event.is_error:
                        raise ReportedError(event.fields)
                    response_id = usable_id(event.response.get("id"))
                    if response_id or event.type in CONTENT or event.response:
                        # One less, so that this event counts as new.
                        position = StreamPosition(response_id, None if event.number is None else event.number - 1)
                        events.put_back(batch[at:])
                        return BackgroundResponse(self._client, position, events)
        except UnreadableEventError as error:
            raise self._client.errors.unreadable() from error
        raise self._client.errors.empty(events.content_type, events.unread)

    def _in_background(self, cancellation: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(cancellation)
        self._cancellations.add(task)
        task.add_done_callback(self._cancellations.discard)

    async def _cancelled_when_opened(self, opening: asyncio.Task[BackgroundResponse]) -> None:
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                response = await opening
            await response.detach()
            await self._cancelled(response.position)
        except (ModelError, *REQUEST_ERRORS):
            pass  # nobody waits for this answer any more, and there is no id to cancel it by
        finally:
            del opening

    async def _cancelled(self, position: StreamPosition) -> None:
        with suppress(ModelError):
            await self.cancel(position.mark.value)

    async def _cancel_request(self, response_id: str) -> None:
        # Providers refuse to cancel a response that has ended, each with a status of its own.
        with suppress(openai.BadRequestError, openai.NotFoundError, openai.ConflictError):
            await self._client.sdk.responses.cancel(response_id)
