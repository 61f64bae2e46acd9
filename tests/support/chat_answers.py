"""Read the bytes of a chat completion's stream in a test, without HTTP."""

import json
from collections.abc import AsyncIterable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from midsentence.events import Delta, Reasoning
from midsentence.settings import Settings
from midsentence_worker.models.base import Finish, Mark, Piece
from midsentence_worker.models.chat_answer import ChatAnswer
from midsentence_worker.models.error_messages import ErrorMessages
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.reported_errors import ReportedError

ADDRESS = "http://model/v1"
SETTINGS = Settings.model_validate({"OPENAI_BASE_URL": ADDRESS, "OPENAI_API_KEY": "sk-abc123def", "model": "scripted"})
ERRORS = ErrorMessages(SETTINGS.model_list.default)

DONE = b"data: [DONE]\n\n"


@dataclass
class Heard:
    """What an answer added up to. `error` is the failure that ended it, in place of a `Finish`."""

    text: str = ""
    thought: str = ""
    finish: Finish | None = None
    error: ModelError | None = None

    def take(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            # Whatever comes is written to the log.
            if isinstance(piece, Delta | Reasoning):
                piece.encoded()
            match piece:
                case Delta(text):
                    self.text += text
                case Reasoning(text):
                    self.thought += text
                case Finish():
                    self.finish = piece
                case _:
                    raise AssertionError(piece)

    async def follow(self, pieces: AsyncIterable[Piece]) -> None:
        """Check that an answer ends with one `Finish` or fails with a ModelError, and that the log can hold it all."""
        try:
            async for piece in pieces:
                assert self.finish is None
                if isinstance(piece, Mark):
                    piece.value.encode()
                else:
                    self.take([piece])
        except ModelError as error:
            self.error = error
            error.message.encode()
        else:
            assert self.finish is not None


def event(document: object, kind: str = "") -> bytes:
    """One event. Its JSON is ASCII, as many servers write it."""
    data = document if isinstance(document, str) else json.dumps(document)
    return (f"event: {kind}\n" if kind else "").encode() + f"data: {data}\n\n".encode(errors="surrogatepass")


def chunk(delta: object = None, finish: object = None, **fields: object) -> bytes:
    choice: dict[str, object] = {"index": 0, "finish_reason": finish}
    choice["delta"] = delta
    return event({"choices": [choice], **fields})


def text(content: str, finish: object = None) -> bytes:
    return chunk({"content": content}, finish)


def cut(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    ends = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[begin:end] for begin, end in pairwise(ends)]


def heard(*parts: bytes, content_type: str = "text/event-stream", think_tags: bool = True) -> Heard:
    """Read a whole stream. An error that came before anything of the answer is translated as a client does."""
    answer, heard = ChatAnswer(ERRORS, think_tags=think_tags), Heard()
    try:
        for part in parts:
            heard.take(answer.feed(part))
            if answer.has_failed:
                answer.raise_failure()
        heard.take(answer.end(content_type))
    except ModelError as error:
        heard.error = error
    except ReportedError as error:
        heard.error = ERRORS.of_request(error)
    if heard.error is not None:
        heard.error.message.encode()
    return heard
