"""A scripted provider that answers with tagged tokens, spoils some of its streams, and can be down."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast

from tests.support.answers import Answer
from tests.support.background_responses import Response
from tests.support.http_exchange import Request, ResponseWriter
from tests.support.upstream import Upstream, answer_for
from tools.provider.faults import Outage, Spoiling, StreamFault
from tools.provider.record import Attempt, Record
from tools.provider.spoilt_writer import SpoiltWriter

# The events besides the tokens: of a completion the role, finish, usage and [DONE]; of a response those in front of the
# tokens, the first of which names it, and two behind them.
_COMPLETION_EVENTS = 4
EVENTS_BEFORE_RESPONSE = 5
_RESPONSE_EVENTS = EVENTS_BEFORE_RESPONSE + 2

_MODEL_CALLS = {("POST", "/v1/chat/completions"), ("POST", "/v1/responses")}


class Stream(NamedTuple):
    """One stream of an answer."""

    question: str
    number: int  # among the streams of its question, from 1
    attempt: Attempt
    writes: int  # its head, each event and its end
    reattaches: bool  # to a response that an earlier stream began


class AttemptsUpstream(Upstream):
    """Answers like `answer_for`, with tagged tokens, and continues a partial answer."""

    def __init__(
        self,
        record: Record | None = None,
        fault_of: Callable[[Stream], StreamFault | None] | None = None,
        *,
        port: int = 0,
        before_fault: Callable[[Stream, Spoiling], Awaitable[None]] | None = None,
    ) -> None:
        """`fault_of` says how a stream is spoilt. `before_fault` is awaited in front of that."""
        super().__init__(port=port)
        self.record = record or Record()
        # What requests get instead of an answer, and until when (time.monotonic()).
        self.outage: tuple[Outage, float] | None = None
        self._fault_of = fault_of
        self._before_fault = before_fault
        # The request that is played, and each response that was asked for, by the identity of the request's body.
        self._attempts: dict[int, Attempt] = {}

    def choose(self, request: Request) -> Answer:
        attempt = self._attempts.get(id(request.body))
        if request.method != "POST" or attempt is None:
            return super().choose(request)
        answer = answer_for(request.question)
        answer.tokens = attempt.tokens[attempt.first :]
        if attempt.fails_at is not None:
            answer.error_after = int(attempt.fails_at * (len(answer.tokens) + 1))
        return answer

    async def play(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if self.outage is not None:
            return await self._play_down(writer, *self.outage)
        stream = self._stream(request)
        fault = None if stream is None or self._fault_of is None else self._fault_of(stream)
        if stream is not None and fault is not None:
            if fault.spoiling == "response failed":
                self.record.spoil(fault.spoiling)
                stream.attempt.fails_at = fault.at
            else:
                writer = self._spoilt(stream, fault, writer)
        try:
            return await super().play(request, writer)
        finally:
            # Frees the conversations that thousands of requests repeat.
            if request.body:
                request.body.update(messages=None, input=None)

    def link(self) -> None:
        """Attach each background response to its attempt."""
        for response in self.responses:
            self._attempts[id(response.body)].response = response

    def _stream(self, request: Request) -> Stream | None:
        """The stream that a request asks for."""
        if (request.method, request.path) in _MODEL_CALLS:
            attempt = self._attempts[id(request.body)] = self.record.begun(request)
            question = request.question
            others = _COMPLETION_EVENTS if request.path.endswith("completions") else _RESPONSE_EVENTS
            events = len(attempt.tokens) - attempt.first + others
            return Stream(question, self.record.streamed(question), attempt, events + 2, reattaches=False)
        if (response := self._response(request)) is not None:
            attempt = self._attempts[id(response.body)]
            events = len(attempt.tokens) + _RESPONSE_EVENTS - 1 - int(request.query["starting_after"])
            number = self.record.streamed(attempt.question)
            return Stream(attempt.question, number, attempt, events + 2, reattaches=True)
        return None

    def _response(self, request: Request) -> Response | None:
        """The response whose events a request asks for."""
        if request.method != "GET" or request.query.get("stream") != "true":
            return None
        response_id = request.path.removeprefix("/v1/responses/")
        return next((response for response in self.responses if response.id == response_id), None)

    def _spoilt(self, stream: Stream, fault: StreamFault, writer: asyncio.StreamWriter) -> asyncio.StreamWriter:
        async def spoil() -> None:
            if self._before_fault is not None:
                await self._before_fault(stream, fault.spoiling)
            self.record.spoil(fault.spoiling)

        spoilt = SpoiltWriter(writer, fault.spoiling, fault.at * stream.writes, spoil)
        return cast("asyncio.StreamWriter", spoilt)

    async def _play_down(self, writer: asyncio.StreamWriter, outage: Outage, until: float) -> bool:
        self.record.refuse()
        left = max(0.0, until - time.monotonic())
        if outage == "is silent":
            await asyncio.sleep(left)
            return False
        status, _, pause = outage.partition(" ")
        headers = {"retry-after": str(math.ceil(left))} if pause else {}
        body = {"error": {"message": "The provider is down by a script.", "type": "server_error"}}
        await ResponseWriter(writer, Answer(status=int(status), body=body, headers=headers)).document()
        return True
