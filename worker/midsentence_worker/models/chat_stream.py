"""The stream of a chat completion: the bytes of one response, read until the answer has ended."""

import asyncio
from collections.abc import Sequence

from midsentence_worker.models.base import Piece
from midsentence_worker.models.byte_stream import ByteStream
from midsentence_worker.models.chat_answer import ChatAnswer
from midsentence_worker.models.error_messages import ErrorMessages
from midsentence_worker.models.errors import ModelError, StreamBrokenError, StreamStalledError
from midsentence_worker.models.patience import AwakeTimeout

# After the finish reason mostly the usage follows, and sometimes the last text. Some servers neither send `[DONE]` nor
# close the connection: this silence is then the end.
TAIL_SECONDS = 5.0
# After `[DONE]` only the end of the body follows. It frees the connection for another request.
_END_SECONDS = 0.05


class ChatStream:
    """The caller reads `source` and hands its bytes to `take`, while `is_open`. Then `end` gives the last pieces."""

    def __init__(self, source: ByteStream, answer: ChatAnswer, errors: ErrorMessages) -> None:
        self.source = source
        self.is_open = True
        # The pieces that `begin` read.
        self.first: Sequence[Piece] = ()
        # When silence is the end, in the time of the event loop.
        self.tail_ends: float | None = None
        self._answer = answer
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        # Why the connection ended early.
        self._break: type[StreamStalledError | StreamBrokenError] | None = None
        self._has_ended = False

    async def begin(self) -> None:
        """Read the first pieces.

        Raises ReportedError where the provider reports an error instead, StreamStalledError and StreamBrokenError where
        nothing of an answer came, and ModelError.
        """
        while self.is_open and not self.first:
            try:
                data = await (self.source.read() if self.tail_ends is None else self.read_tail())
            except (StreamStalledError, StreamBrokenError) as error:
                self.first = self.broken(error)
                if not self.first and self._break is not None:
                    raise
            else:
                self.first = self.take(data)
        if not self.first:
            try:
                self.first = await self.end()
            except ModelError as error:
                # Without chunks of HTTP, a connection that was cut looks like the end of the body.
                if error.code == "model_truncated":
                    raise StreamBrokenError from error
                raise

    def take(self, data: bytes) -> Sequence[Piece]:
        """The pieces of the next bytes; no bytes are the end of the body."""
        answer = self._answer
        pieces = answer.feed(data) if data else ()
        if not data or answer.is_done or answer.has_failed:
            self.is_open = False
        elif answer.may_have_ended and (pieces or self.tail_ends is None):
            self.tail_ends = self._loop.time() + TAIL_SECONDS
        return pieces

    def broken(self, error: StreamStalledError | StreamBrokenError) -> Sequence[Piece]:
        """The pieces of a stream that broke."""
        self.is_open = False
        if self._answer.is_complete:
            return ()
        self._break = type(error)
        return self._answer.rest()

    async def end(self) -> Sequence[Piece]:
        """The last pieces, the last of which is a `Finish`; none if they were read. Raises like `begin`."""
        if self._has_ended:
            return ()
        if self._break is not None:
            raise self._errors.of_stream(self._break())
        if self._answer.is_done:
            await self.source.read_to_end(_END_SECONDS)
        pieces = self._answer.end(self.source.content_type)
        self._has_ended = True
        return pieces

    async def read_tail(self) -> bytes:
        """Read on, until the silence is the end."""
        assert self.tail_ends is not None  # noqa: S101
        try:
            async with AwakeTimeout(self.tail_ends - self._loop.time()):
                return await self.source.read()
        except TimeoutError:
            return b""

    async def aclose(self) -> None:
        await self.source.aclose()
