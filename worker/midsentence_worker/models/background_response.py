"""One response that the provider writes in its background, read over as many connections as that takes.

The provider numbers the events of a response. When a connection breaks, the next one asks for the events after the last
number (`starting_after`). Where the provider does not stream the response any more, the whole text is polled for
instead, and the part that was yielded already is cut off. A `StreamPosition` holds what both ways need.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, Self

import openai
from openai.types.responses import Response, ResponseStreamEvent

from midsentence.events import Delta, Reasoning, Usage
from midsentence_worker.models import retry
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Piece
from midsentence_worker.models.client import ModelClient
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.surrogates import SurrogateJoiner

EventStream = openai.AsyncStream[ResponseStreamEvent]

# How many connections in a row may bring nothing new; with the pauses between them some 15 seconds. The provider keeps
# writing meanwhile, so waiting loses nothing, but a reader waits in front of half a sentence.
MAX_SILENT_CONNECTIONS = 6
_POLL_SECONDS = 1.0

_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING = frozenset({"response.reasoning_text.delta", "response.reasoning_summary_text.delta"})
_BEGINNING = frozenset({"response.created", "response.queued", "response.in_progress"})
_RUNNING = frozenset({"queued", "in_progress"})
_ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})
_INCOMPLETE: dict[str, Literal["length", "content_filter"]] = {"content_filter": "content_filter"}
# Client errors that do not concern the response itself: a time-out, and too many requests.
_TRANSIENT = frozenset({408, 429})


class _ConnectionBrokenError(ModelError):
    """A connection ended before the response did. The turn fails with this error if no further connection helps."""

    @classmethod
    def of(cls, error: ModelError) -> Self:
        return cls(error.code, error.message)


class _NotStreamedError(Exception):
    """The provider does not stream this response, or not any more. It may still have the response."""


@dataclass
class StreamPosition:
    """How much of a response was yielded. Its mark is stored in the log, for the worker that takes the turn over.

    `number` is that of the last event whose text was yielded, and `characters` the length of all text until then.
    Where events have no numbers, or the text came whole, `number` is None: only the whole response can be resumed from.
    """

    response_id: str
    number: int | None
    characters: int = 0

    @classmethod
    def of(cls, mark: str) -> Self:
        """Raises CannotResumeError for the mark of another kind of model."""
        try:
            response_id, number, characters = mark.rsplit(":", 2)
            return cls(response_id, int(number) if number else None, int(characters))
        except ValueError:
            raise CannotResumeError("the mark is not one of a response") from None

    @property
    def mark(self) -> Mark:
        return Mark(f"{self.response_id}:{'' if self.number is None else self.number}:{self.characters}")


class BackgroundResponse:
    """`events` is a connection that is open already, `ahead` the events that were read from it."""

    def __init__(
        self,
        client: ModelClient,
        position: StreamPosition,
        events: EventStream | None = None,
        ahead: Sequence[ResponseStreamEvent] = (),
    ) -> None:
        self.position = position
        # Whether the provider ended the response, well or not, so that there is nothing to cancel.
        self.has_ended = False
        self._client = client
        self._events = events
        self._ahead = list(ahead)
        # Whether the provider is known to have the response.
        self._exists = events is not None
        self._text, self._reasoning = SurrogateJoiner(), SurrogateJoiner()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield what follows the position, over as many connections as it takes, up to the `Finish`.

        Raises ModelError, and CannotResumeError before any piece where the provider does not have the response.
        """
        silent = 0
        while True:
            try:
                async with aclosing(self._connection()) as pieces:
                    async for piece in pieces:
                        silent = 0
                        yield piece
                        if isinstance(piece, Finish):
                            return
            except _NotStreamedError:
                break
            except _ConnectionBrokenError:
                silent += 1
                if silent == MAX_SILENT_CONNECTIONS:
                    raise
            finally:
                await self.detach()
            await asyncio.sleep(retry.FIRST_PAUSE_SECONDS * 2 ** max(0, silent - 1))
        for piece in await self._rest():
            yield piece

    async def detach(self) -> None:
        """Close the connection. The provider keeps writing the response."""
        events, self._events = self._events, None
        if events is not None:
            await events.close()

    async def _connection(self) -> AsyncGenerator[Piece, None]:
        if self._events is None:
            self._events = await self._connected()
        try:
            while (event := self._ahead.pop(0) if self._ahead else await anext(self._events, None)) is not None:
                # Nothing is awaited between a text and its mark, so one write to the log holds both. If the log held a
                # text without its mark, the next worker would read that text again.
                for piece in self._pieces(event):
                    yield piece
        # The SDK raises ValueError for data that is not JSON; here it is the last event before a cut.
        except (openai.APIConnectionError, ValueError) as error:
            raise _ConnectionBrokenError.of(self._client.errors.of_stream(error)) from error
        except openai.OpenAIError as error:
            raise self._client.errors.of_stream(error) from error
        raise _ConnectionBrokenError.of(self._client.errors.truncated())

    async def _connected(self) -> EventStream:
        # Half a character that came before the break comes again.
        self._text, self._reasoning = SurrogateJoiner(), SurrogateJoiner()
        if self.position.number is None:
            raise _NotStreamedError
        try:
            events = await self._client.sdk.responses.retrieve(
                self.position.response_id, stream=True, starting_after=self.position.number
            )
        except openai.OpenAIError as error:
            if _is_refusal(error):
                raise _NotStreamedError from error
            raise _retried(self._client.errors.of_request(error)) from error
        # Gateways that cannot stream a response answer with the whole document.
        if not events.response.headers.get("content-type", "").startswith("text/event-stream"):
            await events.close()
            raise _NotStreamedError
        return events

    async def _rest(self) -> list[Piece]:
        """Wait for the whole text, and cut off what was yielded.

        OpenAI streams a response for five minutes from its beginning, and keeps it for weeks.
        """
        response = await self._client.with_retries(self._document)
        while response.status in _RUNNING:
            await asyncio.sleep(_POLL_SECONDS)
            response = await self._client.with_retries(self._document)
        finish = self._finish(str(response.status), response)
        return [*self._advanced(Delta, _whole_text(response)[self.position.characters :], None), finish]

    async def _document(self) -> Response:
        try:
            return await self._client.sdk.responses.retrieve(self.position.response_id)
        except openai.APIStatusError as error:
            if not _is_refusal(error):
                raise
            failure = self._client.errors.of_request(error)
        if self._exists:
            raise self._client.errors.truncated()
        raise CannotResumeError(failure.message)

    # The SDK does not check the events: whatever its types say, each part of one may be missing or null.

    def _pieces(self, event: Any) -> list[Piece]:
        number, kind = getattr(event, "sequence_number", None), getattr(event, "type", "")
        # Servers that do not know `starting_after` send all events again.
        if isinstance(number, int) and self.position.number is not None and number <= self.position.number:
            return []
        if kind in _TEXT:
            return self._advanced(Delta, self._text.join_whole_chunks(_delta(event)), number)
        if kind in _REASONING:
            return self._advanced(Reasoning, self._reasoning.join_whole_chunks(_delta(event)), number)
        if kind in _BEGINNING:
            return [self._reached(number)]
        if kind == "error":
            raise self._client.errors.of_event(event)
        status = str(kind).removeprefix("response.")
        if status in _ENDED:
            finish = self._finish(status, getattr(event, "response", None))
            # The mark stays before this event. A worker that resumes behind it would wait for an end that came already.
            last = number - 1 if isinstance(number, int) else None
            return [*self._advanced(Delta, self._text.flush(), last), finish]
        return []

    def _advanced(self, kind: type[Delta | Reasoning], text: str, number: int | None) -> list[Piece]:
        # While half a character is held there is no text, and the mark stays before it.
        if not text:
            return []
        if kind is Delta:
            self.position.characters += len(text)
        return [kind(text), self._reached(number)]

    def _reached(self, number: int | None) -> Mark:
        self._exists = True
        self.position.number = number
        return self.position.mark

    def _finish(self, status: str, response: Any) -> Finish:
        self.has_ended = True
        # The API has no event for a cancellation, so some servers send another end with this status.
        if "cancelled" in {status, getattr(response, "status", None)}:
            raise self._client.errors.cancelled()
        if status == "failed":
            raise self._client.errors.of_event(getattr(response, "error", None))
        if status == "completed":
            return Finish("stop", _usage(response))
        reason = getattr(getattr(response, "incomplete_details", None), "reason", None)
        return Finish(_INCOMPLETE.get(str(reason), "length"), _usage(response))


def _retried(failure: ModelError) -> ModelError:
    return _ConnectionBrokenError.of(failure) if failure.retryable else failure


def _is_refusal(error: openai.OpenAIError) -> bool:
    if not isinstance(error, openai.APIStatusError):
        return False
    return 400 <= error.status_code < 500 and error.status_code not in {401, 403, *_TRANSIENT}


def _delta(event: Any) -> str:
    text = getattr(event, "delta", None)
    return text if isinstance(text, str) else ""


def _whole_text(response: Any) -> str:
    """The text of a complete response, as its deltas add up to it."""
    parts = [part for item in response.output or () for part in getattr(item, "content", None) or ()]
    texts = [getattr(part, "text", None) or getattr(part, "refusal", None) for part in parts if _is_text(part)]
    joiner = SurrogateJoiner()
    return joiner.join("".join(text for text in texts if isinstance(text, str))) + joiner.flush()


def _is_text(part: Any) -> bool:
    return getattr(part, "type", None) in {"output_text", "refusal"}


def _usage(response: Any) -> Usage | None:
    usage = getattr(response, "usage", None)
    match getattr(usage, "input_tokens", None), getattr(usage, "output_tokens", None):
        case (int(input_tokens), int(output_tokens)):
            return Usage(input_tokens, output_tokens, "reported")
        case _:
            return None
