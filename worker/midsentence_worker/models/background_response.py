"""One response that a provider writes in its background, followed over as many connections as that takes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal

import openai
from openai.types.responses import Response, ResponseStreamEvent

from midsentence_worker.models import retry
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Piece, Reasoning, Text, Usage
from midsentence_worker.models.client import Provider
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.place import Place
from midsentence_worker.models.surrogates import Halves

Events = openai.AsyncStream[ResponseStreamEvent]

# How many connections in a row may bring nothing new; with the pauses between them some 15 seconds. The answer is
# written meanwhile, so waiting loses nothing, but somebody sits in front of half a sentence.
CONNECTIONS: Final = 6
POLL_SECONDS: Final = 1.0

_TEXT: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING: Final = frozenset({"response.reasoning_text.delta", "response.reasoning_summary_text.delta"})
_BEGINNING: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_RUNNING: Final = frozenset({"queued", "in_progress"})
_ENDED: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})
_INCOMPLETE: Final[dict[str, Literal["length", "content_filter"]]] = {"content_filter": "content_filter"}
# Client errors that say nothing of the response that was asked for: a time-out, and too many requests.
_PASSING: Final = frozenset({408, 429})


class _BrokenError(Exception):
    """A connection ended before the response did. `failure` is what to say where it stays so."""

    def __init__(self, failure: ModelError) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _RefusedError(Exception):
    """The provider does not stream this response (again); it may still have it."""


class Background:
    """`events` is a connection that is open already, `ahead` what was read of it."""

    def __init__(
        self,
        provider: Provider,
        place: Place,
        events: Events | None = None,
        ahead: Sequence[ResponseStreamEvent] = (),
    ) -> None:
        self.place: Final = place
        # Whether the provider has ended it, well or not: there is nothing left to cancel.
        self.over = False
        self._provider = provider
        self._events = events
        self._ahead = list(ahead)
        self._known = events is not None
        self._text, self._reasoning = Halves(), Halves()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield what comes after the place, through breaks of the connection, to the `Finish`.

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
            except _RefusedError:
                break
            except _BrokenError as broken:
                silent += 1
                if silent == CONNECTIONS:
                    raise broken.failure from broken
            finally:
                await self.detach()
            await asyncio.sleep(retry.FIRST_PAUSE_SECONDS * 2 ** max(0, silent - 1))
        for piece in await self._rest():
            yield piece

    async def detach(self) -> None:
        """Close the connection. The response goes on."""
        events, self._events = self._events, None
        if events is not None:
            await events.close()

    async def _connection(self) -> AsyncGenerator[Piece, None]:
        if self._events is None:
            self._events = await self._attached()
        try:
            while (event := self._ahead.pop(0) if self._ahead else await anext(self._events, None)) is not None:
                # Nothing is awaited between a text and its mark, so that a worker never writes one without the other:
                # an event whose text is in the log would be asked for again.
                for piece in self._pieces(event):
                    yield piece
        # What is not JSON surfaces as a ValueError: here the last event before a cut.
        except (openai.APIConnectionError, ValueError) as error:
            raise _BrokenError(self._provider.complaints.during(error)) from error
        except openai.OpenAIError as error:
            raise self._provider.complaints.during(error) from error
        raise _BrokenError(self._provider.complaints.truncated())

    async def _attached(self) -> Events:
        # Half a character that came before the break comes again.
        self._text, self._reasoning = Halves(), Halves()
        if self.place.number is None:
            raise _RefusedError
        try:
            events = await self._provider.client.responses.retrieve(
                self.place.response_id, stream=True, starting_after=self.place.number
            )
        except openai.OpenAIError as error:
            failure = self._provider.complaints.before(error)
            if _is_refusal(error):
                raise _RefusedError from error
            raise (_BrokenError(failure) if failure.retryable else failure) from error
        # Gateways that do not know how to stream it answer with the document.
        if not events.response.headers.get("content-type", "").startswith("text/event-stream"):
            await events.close()
            raise _RefusedError
        return events

    async def _rest(self) -> list[Piece]:
        """Wait for the whole text instead, and cut off what was relayed.

        OpenAI streams a response for five minutes from its beginning, and keeps it for weeks.
        """
        response = await self._provider.asked(self._document)
        while response.status in _RUNNING:
            await asyncio.sleep(POLL_SECONDS)
            response = await self._provider.asked(self._document)
        finish = self._finish(str(response.status), response)
        return [*self._said(Text, _written(response)[self.place.characters :], None), finish]

    async def _document(self) -> Response:
        try:
            return await self._provider.client.responses.retrieve(self.place.response_id)
        except openai.APIStatusError as error:
            if not _is_refusal(error):
                raise
            failure = self._provider.complaints.before(error)
        if self._known:
            raise self._provider.complaints.truncated()
        raise CannotResumeError(failure.message)

    # The SDK builds events without checking them: whatever its types say, each part of one may be missing or null.

    def _pieces(self, event: Any) -> list[Piece]:
        number, kind = getattr(event, "sequence_number", None), getattr(event, "type", "")
        # Servers that do not know `starting_after` tell everything again.
        if isinstance(number, int) and self.place.number is not None and number <= self.place.number:
            return []
        if kind in _TEXT:
            return self._said(Text, self._text.join_whole(_delta(event)), number)
        if kind in _REASONING:
            return self._said(Reasoning, self._reasoning.join_whole(_delta(event)), number)
        if kind in _BEGINNING:
            return [self._reached(number)]
        if kind == "error":
            raise self._provider.complaints.reported(event)
        status = str(kind).removeprefix("response.")
        if status in _ENDED:
            finish = self._finish(status, getattr(event, "response", None))
            # Before the end, or whoever takes over would wait for it in vain.
            last = number - 1 if isinstance(number, int) else None
            return [*self._said(Text, self._text.rest(), last), finish]
        return []

    def _said(self, kind: type[Text | Reasoning], text: str, number: int | None) -> list[Piece]:
        # Where half a character is held, the mark stays before it.
        if not text:
            return []
        if kind is Text:
            self.place.characters += len(text)
        return [kind(text), self._reached(number)]

    def _reached(self, number: int | None) -> Mark:
        self._known = True
        self.place.number = number
        return self.place.mark

    def _finish(self, status: str, response: Any) -> Finish:
        self.over = True
        # There is no event of a cancellation, so some tell it as another end.
        if "cancelled" in {status, getattr(response, "status", None)}:
            raise self._provider.complaints.cancelled()
        if status == "failed":
            raise self._provider.complaints.reported(getattr(response, "error", None))
        if status == "completed":
            return Finish("stop", _usage(response))
        reason = getattr(getattr(response, "incomplete_details", None), "reason", None)
        return Finish(_INCOMPLETE.get(str(reason), "length"), _usage(response))


def _is_refusal(error: openai.OpenAIError) -> bool:
    if not isinstance(error, openai.APIStatusError):
        return False
    return 400 <= error.status_code < 500 and error.status_code not in {401, 403, *_PASSING}


def _delta(event: Any) -> str:
    text = getattr(event, "delta", None)
    return text if isinstance(text, str) else ""


def _written(response: Any) -> str:
    """Join the text of a whole response as its deltas would."""
    parts = [part for item in response.output or () for part in getattr(item, "content", None) or ()]
    texts = [getattr(part, "text", None) or getattr(part, "refusal", None) for part in parts if _is_text(part)]
    halves = Halves()
    return halves.join("".join(text for text in texts if isinstance(text, str))) + halves.rest()


def _is_text(part: Any) -> bool:
    return getattr(part, "type", None) in {"output_text", "refusal"}


def _usage(response: Any) -> Usage | None:
    usage = getattr(response, "usage", None)
    match getattr(usage, "input_tokens", None), getattr(usage, "output_tokens", None):
        case (int(asked), int(written)):
            return Usage(asked, written, "reported")
        case _:
            return None
