"""What the bytes of a chat completion's stream add up to: pieces of text and reasoning, and one finish."""

from collections.abc import Iterable
from typing import Literal

from midsentence.events import Delta, Reasoning, Usage
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models.base import Finish, Piece
from midsentence_worker.models.chat_chunks import (
    Choice,
    Chunk,
    Done,
    Failure,
    ReportedUsage,
    decode,
    tolerant_chunk,
)
from midsentence_worker.models.error_messages import ErrorMessages
from midsentence_worker.models.errors import ErrorCode, ModelError
from midsentence_worker.models.event_stream import EventStreamParser, EventTooLongError
from midsentence_worker.models.surrogates import SurrogateJoiner

# A whole answer in one event is far below this.
LONGEST_EVENT_BYTES = 16 * 2**20

_ENDINGS: dict[str, Literal["length", "content_filter"]] = {
    "length": "length",
    "content_filter": "content_filter",
    "sensitive": "content_filter",  # Zhipu
}
# Failures that OpenRouter, Zhipu and DeepSeek report as finish reasons.
_FAILURES = frozenset({"error", "network_error", "insufficient_system_resource"})


class ChatAnswer:
    """The answer so far. It reads bytes and contacts nobody.

    A finish reason does not end the answer: some servers send it with every chunk, or before the last text. The end of
    the stream ends it, or `[DONE]`, or silence after a finish reason.
    """

    def __init__(self, errors: ErrorMessages) -> None:
        # The code and the message of the provider's own failure. An exception that is kept here would form a cycle with
        # this object through its traceback, so it would not be freed at once.
        self._failed: tuple[ErrorCode, str] | None = None
        # `[DONE]` came.
        self.is_done = False
        self._errors = errors
        self._events = EventStreamParser(LONGEST_EVENT_BYTES)
        self._text, self._reasoning = SurrogateJoiner(), SurrogateJoiner()
        self._finish = ""
        # Text or reasoning followed a finish reason, so this server's finish reasons do not mean the end.
        self._goes_on = False
        self._usage: Usage | None = None
        self._has_chunks = False
        # The bytes so far, until the first event: a body that is no event stream.
        self._body: bytearray | None = bytearray()

    @property
    def has_finish(self) -> bool:
        """Whether the stream may end here: a finish reason or `[DONE]` came."""
        return bool(self._finish) or self.is_done

    @property
    def is_complete(self) -> bool:
        """Whether what breaks now, the connection or the model, breaks no answer."""
        return self.has_finish and not self._goes_on

    @property
    def has_failed(self) -> bool:
        """Whether the provider itself reported a failure. The pieces before it stay valid."""
        return self._failed is not None

    @property
    def failure(self) -> ModelError:
        """The provider's own failure, a new exception each time."""
        assert self._failed is not None  # noqa: S101 - has_failed
        return ModelError(*self._failed)

    def feed(self, data: bytes) -> list[Piece]:
        """Take the next bytes of the stream."""
        pieces: list[Piece] = []
        try:
            events = self._events.feed(data)
        except EventTooLongError:
            self._fail(self._errors.unreadable())
            return pieces
        if self._body is not None:
            self._body += data
            if events or len(self._body) > LONGEST_EVENT_BYTES:
                self._body = None
        for event_type, event_data in events:
            if self._failed is not None or self.is_done:
                break
            self._take(event_type, event_data, pieces)
        return pieces

    def end(self, content_type: str) -> Iterable[Piece]:
        """The last pieces of a stream that has ended. Raises ModelError where it ended before the answer did."""
        pieces: list[Piece] = []
        if self._body:
            self._take_body(pieces)
        if self.has_failed:
            raise self.failure
        if not self.has_finish:
            raise self._errors.truncated() if self._has_chunks else self._errors.empty(content_type)
        if rest := self._reasoning.flush():
            pieces.append(Reasoning(rest))
        if rest := self._text.flush():
            pieces.append(Delta(rest))
        pieces.append(Finish(_ENDINGS.get(self._finish, "stop"), self._usage))
        return pieces

    def _take(self, event_type: bytes, data: bytes, pieces: list[Piece]) -> None:
        try:
            decoded = decode(event_type, data)
        except documents.UNREADABLE:
            self._fail(self._errors.unreadable())
            return
        if isinstance(decoded, Chunk):
            self._take_chunk(decoded, pieces)
        elif isinstance(decoded, Failure):
            self._fail(self._errors.of_event(decoded.reported))
        elif isinstance(decoded, Done):
            self.is_done = True

    def _take_chunk(self, chunk: Chunk, pieces: list[Piece]) -> None:
        self._has_chunks = True
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage) or self._usage
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        text, thought = _text(choice)
        if self._finish and (text or thought):
            self._goes_on = True
        if thought and (thought := self._reasoning.join(thought)):
            pieces.append(Reasoning(thought))
        if text and (text := self._text.join(text)):
            pieces.append(Delta(text))
        if choice.usage is not None:
            self._usage = _usage(choice.usage) or self._usage
        if choice.finish_reason:
            if choice.finish_reason in _FAILURES:
                self._fail(self._errors.failed(f"finish_reason {choice.finish_reason}"))
            else:
                self._finish = choice.finish_reason

    def _fail(self, failure: ModelError) -> None:
        if self.is_complete:
            self.is_done = True
        else:
            self._failed = failure.code, failure.message

    def _take_body(self, pieces: list[Piece]) -> None:
        """Read a completion, or an error, from a body that is one JSON document."""
        body = bytes(self._body or b"")
        try:
            document = documents.mapping(documents.parse(body))
        except documents.UNREADABLE:
            return
        if document.get("error"):
            self._fail(self._errors.of_event(document))
        elif document.get("choices"):
            self._take_chunk(tolerant_chunk(document), pieces)


def _text(choice: Choice) -> tuple[str, str]:
    """The text and the reasoning of a choice."""
    delta = choice.delta or choice.message
    if delta is None:
        return choice.text or "", ""
    return delta.content or delta.refusal or choice.text or "", delta.reasoning_content or delta.reasoning or ""


def _usage(usage: ReportedUsage) -> Usage | None:
    asked, answered = documents.count(usage.prompt_tokens), documents.count(usage.completion_tokens)
    return None if asked is None or answered is None else Usage(asked, answered, "reported")
