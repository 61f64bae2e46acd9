"""One response that the provider writes in its background, read over as many connections as that takes.

The provider numbers the events of a response. When a connection breaks, the next one asks for the events after the last
number (`starting_after`). Where the provider does not stream the response any more, the whole text is polled for
instead, and the part that was yielded already is cut off. A `StreamPosition` holds what both ways need.

The rules, beside those of `response_events`:

- Reasoning between tags at the beginning of the text is reasoning, see `think_tags`.
- A response without a usable id is read over its one connection, and cannot be resumed.
- Text that came by no delta is taken from the event that ends its part, or else from the one that ends the response,
  or from those that ended its items.
- Numbers of events tell what was read before on another connection alone. Those that do not rise are not used.
- A response that only calls a tool is a failure, since no tool was offered.
- `[DONE]` ends a response that has text, unless the provider says otherwise when it is asked for the whole.
- An error of the provider counts as the status that its code stands for, until text or reasoning came.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from copy import copy
from typing import Any, Self
from urllib.parse import quote

import openai

from midsentence.events import Delta, Reasoning
from midsentence_worker.models import content_parts, finish_reasons, reported_errors, response_document, retry
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models.base import CannotResumeError, Finish, Piece
from midsentence_worker.models.client import REQUEST_ERRORS, ModelClient
from midsentence_worker.models.errors import ModelError, StreamBrokenError, StreamStalledError
from midsentence_worker.models.reported_errors import ReportedError
from midsentence_worker.models.response_events import ResponseEvent, ResponseEvents
from midsentence_worker.models.stream_position import StreamPosition
from midsentence_worker.models.surrogates import SurrogateJoiner
from midsentence_worker.models.think_tags import ThinkTags

# How many connections in a row may bring nothing new; with the pauses between them some 15 seconds. The provider keeps
# writing meanwhile, so waiting loses nothing, but a reader waits in front of half a sentence.
MAX_SILENT_CONNECTIONS = 6
_POLL_SECONDS = 1.0

_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta", "response.text.delta"})
_REASONING = frozenset(
    {
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning.delta",
        "response.reasoning_summary.delta",
    }
)
# The events that end a part of the text, and the field that holds all of it.
_WHOLE_PARTS = {"response.output_text.done": "text", "response.refusal.done": "refusal", "response.text.done": "text"}
_ITEM_DONE = "response.output_item.done"
# The events that hold an item or a part of it, for servers that send the text in no other.
_WHOLE_ITEMS = {_ITEM_DONE: "item", "response.content_part.done": "part"}
# The events that bring text or reasoning.
CONTENT = _TEXT | _REASONING | frozenset(_WHOLE_PARTS)
_BEGINNING = frozenset({"response.created", "response.queued", "response.in_progress"})
_RUNNING = frozenset({"queued", "in_progress"})
_ENDED = frozenset({"completed", "incomplete", "failed", "cancelled", "canceled"})


class _ConnectionBrokenError(ModelError):
    """A connection ended before the response did. The turn fails with this error if no further connection helps."""

    @classmethod
    def of(cls, error: ModelError) -> Self:
        return cls(error.code, error.message)


class _NotStreamedError(Exception):
    """The provider does not stream this response, or not any more. It may still have the response."""


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
        # None where the tags have ended, or do not count.
        self._tags: ThinkTags | None = None
        if client.has_think_tags and (position.tags or position.characters == 0):
            self._tags = ThinkTags.resumed(position.tags)
        # Chunks that end within a tag, or with white space before one. The mark stays before them, and another
        # connection of this worker goes on behind them, at `_read`.
        self._unsplit = ""
        self._read = position.number
        # Whether text or reasoning was yielded.
        self._has_content = position.characters > 0
        # The text of the deltas, as far as this worker read it, and where in it the running part begins: None where an
        # earlier worker may have read some of that part.
        self._texts: list[str] = []
        self._part_begins: int | None = None if events is None else 0
        self._has_whole_text = events is not None
        # The provider ended the stream by `[DONE]`.
        self._is_done = False
        # Whether events may come that came before, and whether the numbers of this response are of no use.
        self._is_reopened = events is None
        self._is_unnumbered = False
        # The items and the parts of a response that has no text yet.
        self._items: list[object] = []
        self._parts: list[object] = []

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield what follows the position, over as many connections as it takes, up to the `Finish`.

        Raises ModelError, and CannotResumeError before any piece where the provider does not have the response.
        """
        silent = 0
        while True:
            read = self._read
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
                silent = silent + 1 if self._read == read else 1
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
                if events[-1].delta:
                    self._events.pace()
        except (StreamStalledError, StreamBrokenError) as error:
            raise _ConnectionBrokenError.of(self._client.errors.of_stream(error)) from error
        if self._events.is_done and self._has_content:
            self._is_done = True
            raise _NotStreamedError
        raise _ConnectionBrokenError.of(self._client.errors.truncated())

    async def _connected(self) -> ResponseEvents:
        self._is_reopened = True
        # Half a character that came before the break comes again.
        self._text, self._reasoning = SurrogateJoiner(), SurrogateJoiner()
        if not self.position.response_id:
            raise self._client.errors.truncated()
        if self._read is None:
            raise _NotStreamedError
        # The id comes from the provider.
        path = f"/responses/{quote(self.position.response_id, safe='')}"
        try:
            source = await self._client.get(path, {"stream": True, "starting_after": self._read})
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
        response = await self._whole()
        while (status := documents.word(response.get("status"))) in _RUNNING:
            await asyncio.sleep(_POLL_SECONDS)
            response = await self._whole()
        if status not in _ENDED:
            if not documents.array(response.get("output")):
                raise self._client.errors.unreadable(response)
            status = "completed"
        finish = self._finish(status, response)
        self._unsplit = ""
        return [*self._last_text(response_document.text_of(response)[self.position.characters :], None), finish]

    async def _whole(self) -> Mapping[str, Any]:
        if not self._is_done:
            return await self._client.with_retries(self._document)
        try:
            if self.position.response_id:
                return await self._client.with_retries(self._document)
        except ModelError:
            pass  # the provider streamed the response to its end, and keeps none
        return {"status": "completed"}

    async def _document(self) -> Mapping[str, Any]:
        try:
            reply = await self._client.sdk.responses.with_raw_response.retrieve(self.position.response_id)
        except openai.APIStatusError as error:
            if not _is_refusal(error):
                raise
            failure = self._client.errors.of_request(error)
        else:
            try:
                document = documents.mapping(documents.parse(reply.content))
            except documents.UNREADABLE as error:
                raise self._client.errors.unreadable() from error
            if "status" not in document and reported_errors.is_error(document):
                raise ReportedError(document)
            return document
        if self._exists:
            raise self._client.errors.truncated()
        raise CannotResumeError(failure.message)

    def _pieces(self, event: ResponseEvent) -> list[Piece]:
        number, kind = event.number, event.type
        if number is not None and self._read is not None and number <= self._read:
            # Servers that do not know `starting_after` send all events again.
            if self._is_reopened:
                return []
            self._is_unnumbered = True
        if self._is_unnumbered:
            event, number = event._replace(number=None), None
        if kind in _TEXT:
            text = self._text.join_whole_chunks(event.delta)
            self._texts += (text,)
            return self._advanced(Delta, text, number) if self._tags is None else self._more_text(text, number)
        if kind in _REASONING:
            thought = self._reasoning.join_whole_chunks(event.delta)
            # Reasoning behind text: no tag comes any more.
            held = self._last_text("", self._read) if thought and self._unsplit else []
            return [*held, *self._advanced(Reasoning, thought, number)]
        if kind in _BEGINNING:
            return [] if self._unsplit else self._reached(number)
        if kind in _WHOLE_PARTS:
            return self._part(event, _WHOLE_PARTS[kind])
        if event.is_error:
            raise self._failure(event.fields)
        if kind in _WHOLE_ITEMS and self.position.characters == 0:
            (self._items if kind == _ITEM_DONE else self._parts).append(event.fields.get(_WHOLE_ITEMS[kind]))
        status = documents.word(kind.removeprefix("response."))
        return self._ended(status, event) if status in _ENDED else []

    def _part(self, event: ResponseEvent, field: str) -> list[Piece]:
        """The text of a part that came by no delta, mostly none or all of it."""
        begins, self._part_begins = self._part_begins, len(self._texts)
        rest = ""
        if begins is not None:
            rest = _rest(content_parts.read(event.fields.get(field)).text, "".join(self._texts[begins:]))
        if not rest:
            if event.number is not None:
                # Sent again over another connection, it would count as a part that came by no delta.
                self._read = event.number
            return []
        self._text = SurrogateJoiner()
        text = self._text.join_whole_chunks(rest)
        self._texts.append(text)
        self._part_begins = len(self._texts)
        return self._more_text(text, event.number)

    def _ended(self, status: str, event: ResponseEvent) -> list[Piece]:
        finish = self._finish(status, event.response)
        # The mark stays before this event. A worker that resumes behind it would wait for an end that came already.
        last = None if event.number is None else event.number - 1
        pieces: list[Piece] = []
        if not self._has_content:
            pieces = self._advanced(Reasoning, response_document.reasoning_of(event.response), last)
        text = self._rest_of(self._whole_text(event.response)) or self._text.flush()
        if not (text or pieces or self._has_content or self._unsplit) and response_document.calls_a_tool(
            event.response
        ):
            raise self._client.errors.failed(finish_reasons.CALLED_A_TOOL)
        return [*pieces, *self._last_text(text, last), finish]

    def _whole_text(self, response: Mapping[str, Any]) -> str:
        """The text of a response that came by no delta."""
        places = (response, {"output": self._items}, {"output": [{"content": self._parts}]})
        return next((text for place in places if (text := response_document.text_of(place))), "")

    def _rest_of(self, whole: str) -> str:
        """What the whole text has behind the text that came by deltas."""
        if self._has_whole_text:
            return _rest(whole, "".join(self._texts))
        return whole[self.position.characters + len(self._unsplit) :]

    def _more_text(self, text: str, number: int | None) -> list[Piece]:
        """The pieces of the next text. A chunk that ends within a tag is held whole, and the mark stays before it."""
        if self._tags is None:
            return self._advanced(Delta, text, number)
        if not text:
            return []
        self._unsplit += text
        self._read = number
        tags = copy(self._tags)
        thought, text = tags.split(self._unsplit)
        return [] if tags.is_holding else self._split(tags, thought, text, number)

    def _last_text(self, text: str, number: int | None) -> list[Piece]:
        tags = self._tags
        if tags is None:
            return self._advanced(Delta, text, number)
        self._unsplit += text
        thought, text = tags.split(self._unsplit)
        more, rest = tags.flush()
        return self._split(tags, thought + more, text + rest, number)

    def _split(self, tags: ThinkTags, thought: str, text: str, number: int | None) -> list[Piece]:
        self.position.characters += len(self._unsplit)
        self.position.tags, self._unsplit = tags.state, ""
        self._tags = None if tags.has_ended else tags
        pieces: list[Piece] = [piece for piece in (Reasoning(thought), Delta(text)) if piece.text]
        self._has_content = self._has_content or bool(pieces)
        return [*pieces, *self._reached(number)]

    def _advanced(self, kind: type[Delta | Reasoning], text: str, number: int | None) -> list[Piece]:
        # While half a character is held there is no text, and the mark stays before it.
        if not text:
            return []
        self._has_content = True
        if kind is Delta:
            self.position.characters += len(text)
        return [kind(text), *self._reached(number)]

    def _reached(self, number: int | None) -> list[Piece]:
        self._exists = True
        self.position.number = self._read = number
        return [self.position.mark] if self.position.response_id else []

    def _failure(self, reported: object) -> ModelError:
        errors = self._client.errors
        return errors.of_event(reported) if self._has_content else errors.of_request(ReportedError(reported))

    def _finish(self, status: str, response: Mapping[str, Any]) -> Finish:
        self.has_ended = True
        usage = response_document.usage_of(response)
        if usage is not None and self._has_content and not (usage.input_tokens and usage.output_tokens):
            usage = None
        if documents.word(response.get("status")) in {"incomplete", "failed"}:
            status = documents.word(response.get("status"))
        # The API has no event for a cancellation, so some servers send another end with this status.
        if {"cancelled", "canceled"} & {status, documents.word(response.get("status"))}:
            raise self._client.errors.cancelled()
        if status == "failed":
            raise self._failure(response)
        if status == "completed":
            return Finish("stop", usage)
        reason = documents.string(documents.mapping(response.get("incomplete_details")).get("reason"))
        is_withheld = finish_reasons.reason_of(reason[:100]) == "content_filter"
        return Finish("content_filter" if is_withheld else "length", usage)


def _rest(whole: str, read: str) -> str:
    """What stands in a text behind the part that was read; nothing where it begins otherwise."""
    return whole[len(read) :] if whole.startswith(read) else ""


def _retried(failure: ModelError) -> ModelError:
    return _ConnectionBrokenError.of(failure) if failure.retryable else failure


def _is_refusal(error: Exception) -> bool:
    status = retry.status(error)
    return status is not None and 300 <= status < 500 and status not in {401, 403, *retry.BUSY}
