"""What the bytes of a chat completion's stream add up to: pieces of text and reasoning, and one finish.

The rules, beside those of `chat_chunks`:

- A finish reason does not end the answer: some servers send it with every chunk, or before the last text. The end of
  the stream ends it, or `[DONE]`, or silence after a finish reason. `[DONE]` without a finish reason is `stop`. Of
  several finish reasons without text between them, the one that says more than `stop` counts.
- An event that the end of the stream leaves without its blank line counts if it is whole.
- An answer that is a call of a tool alone is a failure, since no tool was offered.
- An error of the provider ends it, with the provider's words. Before any text or reasoning it counts as the status of
  HTTP that its code stands for.
- A body that is no event stream is read as a completion, or as an error.
- Where nothing can be read as an answer, it is a failure, which quotes what came instead.
- Usage counts if it is possible, wherever it stands. The last one does. No request and no text has 0 tokens.
"""

from collections.abc import Sequence
from typing import NoReturn

from midsentence.events import Delta, Reasoning, Usage
from midsentence_worker.models import finish_reasons
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models.base import Finish, Piece
from midsentence_worker.models.chat_chunks import (
    Choice,
    Chunk,
    Decoded,
    Done,
    Failure,
    ReportedUsage,
    Unread,
    decode,
    decode_body,
    decode_lines,
)
from midsentence_worker.models.chat_chunks import Delta as ChunkDelta
from midsentence_worker.models.error_messages import ErrorMessages
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.event_stream import EventStreamParser, EventTooLongError
from midsentence_worker.models.plain_body import PlainBody
from midsentence_worker.models.reported_errors import ReportedError
from midsentence_worker.models.surrogates import SurrogateJoiner
from midsentence_worker.models.think_tags import ThinkTags

# A whole answer in one event is far below this.
LONGEST_EVENT_BYTES = 16 * 2**20
_LONGEST_FINISH_REASON = 100


class ChatAnswer:
    """The answer so far. It reads bytes and contacts nobody."""

    def __init__(self, errors: ErrorMessages, *, think_tags: bool = True) -> None:
        """`think_tags`: whether `<think>…</think>` at the beginning of the text is reasoning."""
        # The provider's own failure. It is never raised itself: the traceback of an exception that was would form a
        # cycle with this object, so that it would not be freed at once.
        self._failed: ModelError | None = None
        # What the provider reported before any piece.
        self._refused: Failure | None = None
        # `[DONE]` came.
        self.is_done = False
        self._errors = errors
        self._events = EventStreamParser(LONGEST_EVENT_BYTES)
        self._text, self._reasoning = SurrogateJoiner(), SurrogateJoiner()
        self._tags = ThinkTags() if think_tags else None
        self._finish = ""
        # Text or reasoning followed a finish reason, so this server's finish reasons do not mean the end.
        self._goes_on = False
        self._usage: Usage | None = None
        self._has_chunks = False
        # The text and the reasoning that came by deltas.
        self._delta_texts: list[str] = []
        self._delta_thoughts: list[str] = []
        # Text or reasoning came.
        self._has_content = False
        self._unread: Unread | None = None
        # The bytes so far, until the first event: a body that is no event stream.
        self._body: PlainBody | None = PlainBody(LONGEST_EVENT_BYTES)

    @property
    def has_finish(self) -> bool:
        """Whether the stream may end here: a finish reason or `[DONE]` came."""
        return bool(self._finish) or self.is_done

    @property
    def may_have_ended(self) -> bool:
        """Whether silence may be the end. A finish reason that came before everything else says nothing."""
        return bool(self._finish) and self._has_content

    @property
    def is_complete(self) -> bool:
        """Whether what breaks now, the connection or the model, breaks no answer."""
        return self.has_finish and not self._goes_on

    @property
    def has_failed(self) -> bool:
        """Whether the provider failed. The pieces before that stay valid."""
        return self._failed is not None or self._refused is not None

    def raise_failure(self) -> NoReturn:
        """Raise the provider's own failure: ModelError, or ReportedError where it came before any piece."""
        if self._refused is not None:
            raise ReportedError(self._refused.reported)
        raise self._errors.truncated() if self._failed is None else self._failed.unraised()

    def feed(self, data: bytes) -> list[Piece]:
        """Take the next bytes of the stream."""
        pieces: list[Piece] = []
        try:
            events = self._events.feed(data)
        except EventTooLongError:
            self._fail(self._errors.unreadable())
            return pieces
        if self._body is not None:
            if events:
                self._body = None
            else:
                self._body.add(data)
        for event_type, event_data in events:
            if self.is_done or self._failed is not None or self._refused is not None:
                break
            try:
                decoded = decode(event_type, event_data)
            except documents.UNREADABLE:
                if not self._take_lines(event_type, event_data, pieces):
                    self._fail(self._errors.unreadable())
                    break
                continue
            if isinstance(decoded, Chunk):
                self._take_chunk(decoded, pieces)
            else:
                self._take(decoded, pieces)
        if self._failed is not None:
            self._flush(pieces)
        return pieces

    def rest(self) -> list[Piece]:
        """What is held of an answer that broke off: its last event, half a character, or the beginning of a tag."""
        pieces: list[Piece] = []
        self._take_rest(pieces)
        self._flush(pieces)
        return pieces

    def end(self, content_type: str) -> Sequence[Piece]:
        """The last pieces of a stream that has ended. Raises ModelError where it ended before the answer did.

        Raises ReportedError where a body that is no event stream reports an error.
        """
        pieces: list[Piece] = []
        body = b"" if self._body is None else bytes(self._body)
        if self._take_rest(pieces):
            body = b""
        if body:
            for decoded in decode_body(body):
                if not self.has_failed:
                    self._take(decoded, pieces)
        if self.has_failed:
            self.raise_failure()
        if not self._has_content:
            self._raise_if_empty(content_type, is_body=bool(body))
        # A completion that is no stream is whole, since its JSON is.
        if not (self.has_finish or (body and self._has_content)):
            raise self._errors.truncated() if self._has_chunks else self._errors.empty(content_type)
        self._flush(pieces)
        usage = self._usage
        if usage is not None and self._has_content and not (usage.input_tokens and usage.output_tokens):
            usage = None
        pieces.append(Finish(finish_reasons.reason_of(self._finish) or "stop", usage))
        return pieces

    def _raise_if_empty(self, content_type: str, *, is_body: bool) -> None:
        """Raise where something came and nothing of it could be read as an answer."""
        if self._unread is not None and not (self._finish and self._unread.chunk is None):
            reported = self._unread.reported
            raise self._errors.empty(content_type, reported) if is_body else self._errors.unreadable(reported)
        if finish_reasons.is_call(self._finish):
            raise self._errors.failed(finish_reasons.CALLED_A_TOOL)

    def _take_rest(self, pieces: list[Piece]) -> bool:
        """Take the event that has not ended, if it is whole. Returns whether it was."""
        if self.is_done or self.has_failed or (event := self._events.rest()) is None:
            return False
        try:
            decoded = decode(*event)
        except documents.UNREADABLE:
            return self._take_lines(*event, pieces)
        if not isinstance(decoded, Chunk | Done | Failure):
            return False
        self._take(decoded, pieces)
        return True

    def _take_lines(self, event_type: bytes, data: bytes, pieces: list[Piece]) -> bool:
        try:
            lines = decode_lines(event_type, data)
        except documents.UNREADABLE:
            return False
        for decoded in lines:
            if not (self.is_done or self.has_failed):
                self._take(decoded, pieces)
        return True

    def _take(self, decoded: Decoded, pieces: list[Piece]) -> None:
        match decoded:
            case Chunk():
                self._take_chunk(decoded, pieces)
            case Unread(_, chunk):
                if self._unread is None or chunk is not None:
                    self._unread = decoded
                if chunk is not None:
                    self._take_chunk(chunk, pieces)
            case Failure():
                self._report(decoded)
            case Done():
                self.is_done = True
            case None:
                pass

    def _take_chunk(self, chunk: Chunk, pieces: list[Piece]) -> None:
        self._has_chunks = True
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage) or self._usage
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        text, thought = _text(choice.delta)
        text = text or choice.text or ""
        if choice.message is not None:
            text, thought = self._with_message(choice.message, text, thought)
        else:
            # A call of `append` for each of them would show.
            self._delta_texts += (text,)
            self._delta_thoughts += (thought,)
        if text or thought:
            self._has_content = True
            if self._finish:
                self._goes_on = True
        if thought and (thought := self._reasoning.join(thought)):
            pieces.append(Reasoning(thought))
        if text and (text := self._text.join(text)):
            if self._tags is None:
                pieces.append(Delta(text))
            else:
                self._split(self._tags, text, pieces)
        if choice.finish_reason or choice.usage is not None:
            self._take_end(choice)

    def _take_end(self, choice: Choice) -> None:
        if choice.usage is not None:
            self._usage = _usage(choice.usage) or self._usage
        if choice.finish_reason:
            self._take_finish_reason(choice.finish_reason)

    def _with_message(self, message: ChunkDelta, text: str, thought: str) -> tuple[str, str]:
        """A whole message stands for what came by no delta. Some servers send it behind all the deltas."""
        whole_text, whole_thought = _text(message)
        return (
            text or _rest(whole_text, self._delta_texts),
            thought or _rest(whole_thought, self._delta_thoughts),
        )

    def _take_finish_reason(self, reported: str) -> None:
        reason = finish_reasons.reason_of(reported[:_LONGEST_FINISH_REASON])
        if reason is None:
            self._fail(self._errors.failed(f"finish_reason {reported}"))
        elif reason != "stop" or not self._finish or self._goes_on:
            self._finish = reported[:_LONGEST_FINISH_REASON]

    def _split(self, tags: ThinkTags, text: str, pieces: list[Piece]) -> None:
        thought, text = tags.split(text)
        if tags.has_ended:
            self._tags = None
        if thought:
            pieces.append(Reasoning(thought))
        if text:
            pieces.append(Delta(text))

    def _flush(self, pieces: list[Piece]) -> None:
        if rest := self._reasoning.flush():
            pieces.append(Reasoning(rest))
        thought, rest = "", self._text.flush()
        if self._tags is not None:
            thought, text = self._tags.split(rest)
            more, rest = self._tags.flush()
            thought, rest = thought + more, text + rest
        if thought:
            pieces.append(Reasoning(thought))
        if rest:
            pieces.append(Delta(rest))

    def _report(self, failure: Failure) -> None:
        if self._has_content or self.is_complete:
            self._fail(self._errors.of_event(failure.reported))
        else:
            self._refused = failure

    def _fail(self, failure: ModelError) -> None:
        if self.is_complete:
            self.is_done = True
        else:
            self._failed = failure


def _rest(whole: str, read: list[str]) -> str:
    """What a whole text has behind the deltas. Without deltas, all of it: some servers send messages in their place."""
    before = "".join(read)
    rest = whole[len(before) :] if whole.startswith(before) else ""
    if before:
        read.append(rest)
    return rest


def _text(delta: ChunkDelta | None) -> tuple[str, str]:
    """The text and the reasoning of a delta or a message."""
    if delta is None:
        return "", ""
    return delta.content or delta.refusal or "", delta.reasoning_content or delta.reasoning or ""


def _usage(usage: ReportedUsage) -> Usage | None:
    asked = documents.count(usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens)
    answered = documents.count(usage.completion_tokens if usage.completion_tokens is not None else usage.output_tokens)
    return None if asked is None or answered is None else Usage(asked, answered, "reported")
