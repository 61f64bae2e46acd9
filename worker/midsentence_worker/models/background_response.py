"""One response that the provider writes in its background, read over as many connections as that takes.

The provider numbers the events of a response. When a connection breaks, the next one asks for the events after the last
number (`starting_after`). Where the provider does not stream the response any more, the whole text is polled for
instead, and the part that was yielded already is cut off. A `StreamPosition` holds what both ways need.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import quote

import openai

from midsentence.events import Delta, Reasoning, Usage
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models import retry
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Piece
from midsentence_worker.models.client import REQUEST_ERRORS, ModelClient
from midsentence_worker.models.errors import ModelError, StreamBrokenError, StreamStalledError
from midsentence_worker.models.response_events import ResponseEvent, ResponseEvents
from midsentence_worker.models.surrogates import SurrogateJoiner

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
    """`events` is a connection that is open already."""

    def __init__(self, client: ModelClient, position: StreamPosition, events: ResponseEvents | None = None) -> None:
        self.position = position
        # Whether the provider ended the response, well or not, so that there is nothing to cancel.
        self.has_ended = False
        self._client = client
        self._events = events
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
            await events.aclose()

    async def _connection(self) -> AsyncGenerator[Piece, None]:
        if self._events is None:
            self._events = await self._connected()
        try:
            while events := await self._events.read():
                # Nothing is awaited between a text and its mark, so one write to the log holds both. If the log held a
                # text without its mark, the next worker would read that text again.
                for event in events:
                    for piece in self._pieces(event):
                        yield piece
        except (StreamStalledError, StreamBrokenError) as error:
            raise _ConnectionBrokenError.of(self._client.errors.of_stream(error)) from error
        raise _ConnectionBrokenError.of(self._client.errors.truncated())

    async def _connected(self) -> ResponseEvents:
        # Half a character that came before the break comes again.
        self._text, self._reasoning = SurrogateJoiner(), SurrogateJoiner()
        if self.position.number is None:
            raise _NotStreamedError
        # The id comes from the provider.
        path = f"/responses/{quote(self.position.response_id, safe='')}"
        try:
            source = await self._client.get(path, {"stream": True, "starting_after": self.position.number})
        except REQUEST_ERRORS as error:
            if _is_refusal(error):
                raise _NotStreamedError from error
            raise _retried(self._client.errors.of_request(error)) from error
        events = ResponseEvents(source)
        # Gateways that cannot stream a response answer with the whole document.
        if not events.content_type.startswith("text/event-stream"):
            await events.aclose()
            raise _NotStreamedError
        return events

    async def _rest(self) -> list[Piece]:
        """Wait for the whole text, and cut off what was yielded.

        OpenAI streams a response for five minutes from its beginning, and keeps it for weeks.
        """
        response = await self._client.with_retries(self._document)
        while response.get("status") in _RUNNING:
            await asyncio.sleep(_POLL_SECONDS)
            response = await self._client.with_retries(self._document)
        finish = self._finish(str(response.get("status")), response)
        return [*self._advanced(Delta, _whole_text(response)[self.position.characters :], None), finish]

    async def _document(self) -> Mapping[str, Any]:
        try:
            reply = await self._client.sdk.responses.with_raw_response.retrieve(self.position.response_id)
        except openai.APIStatusError as error:
            if not _is_refusal(error):
                raise
            failure = self._client.errors.of_request(error)
        else:
            try:
                return documents.mapping(documents.parse(reply.content))
            except documents.UNREADABLE as error:
                raise self._client.errors.unreadable() from error
        if self._exists:
            raise self._client.errors.truncated()
        raise CannotResumeError(failure.message)

    def _pieces(self, event: ResponseEvent) -> list[Piece]:
        number, kind = event.number, event.type
        # Servers that do not know `starting_after` send all events again.
        if number is not None and self.position.number is not None and number <= self.position.number:
            return []
        if kind in _TEXT:
            return self._advanced(Delta, self._text.join_whole_chunks(event.delta), number)
        if kind in _REASONING:
            return self._advanced(Reasoning, self._reasoning.join_whole_chunks(event.delta), number)
        if kind in _BEGINNING:
            return [self._reached(number)]
        if event.is_error:
            raise self._client.errors.of_event(event.fields)
        status = kind.removeprefix("response.")
        if status in _ENDED:
            finish = self._finish(status, event.response)
            # The mark stays before this event. A worker that resumes behind it would wait for an end that came already.
            last = None if number is None else number - 1
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

    def _finish(self, status: str, response: Mapping[str, Any]) -> Finish:
        self.has_ended = True
        # The API has no event for a cancellation, so some servers send another end with this status.
        if "cancelled" in {status, documents.string(response.get("status"))}:
            raise self._client.errors.cancelled()
        if status == "failed":
            raise self._client.errors.of_event(response)
        if status == "completed":
            return Finish("stop", _usage(response))
        reason = documents.mapping(response.get("incomplete_details")).get("reason")
        return Finish(_INCOMPLETE.get(str(reason), "length"), _usage(response))


def _retried(failure: ModelError) -> ModelError:
    return _ConnectionBrokenError.of(failure) if failure.retryable else failure


def _is_refusal(error: Exception) -> bool:
    if not isinstance(error, openai.APIStatusError):
        return False
    return 400 <= error.status_code < 500 and error.status_code not in {401, 403, *_TRANSIENT}


def _whole_text(response: Mapping[str, Any]) -> str:
    """The text of a complete response, as its deltas add up to it."""
    joiner = SurrogateJoiner()
    text = "".join(
        documents.string(part.get("text")) or documents.string(part.get("refusal"))
        for item in documents.array(response.get("output"))
        for part in map(documents.mapping, documents.array(documents.mapping(item).get("content")))
        if part.get("type") in {"output_text", "refusal"}
    )
    return joiner.join(text) + joiner.flush()


def _usage(response: Mapping[str, Any]) -> Usage | None:
    usage = documents.mapping(response.get("usage"))
    asked, answered = documents.count(usage.get("input_tokens")), documents.count(usage.get("output_tokens"))
    return None if asked is None or answered is None else Usage(asked, answered, "reported")
