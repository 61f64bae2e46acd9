"""A scripted provider that answers with tagged tokens, spoils some of its streams, and can be down."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, cast

from tests.support.answers import Answer
from tests.support.background_responses import Response
from tests.support.http_exchange import Request, ResponseWriter
from tests.support.upstream import Upstream, answer_for
from tools.provider.record import Attempt, Record
from tools.provider.spoilt_writer import SpoiltWriter, StreamFault

# The writes of a stream are its head, each event and its end. Besides the tokens, a completion has four events (the
# role, finish, usage, [DONE]), and a response has seven.
_COMPLETION_EVENTS, _RESPONSE_EVENTS = 4, 7

_MODEL_CALLS = {("POST", "/v1/chat/completions"), ("POST", "/v1/responses")}

OutageKind = Literal["refuses", "is silent", "500", "503", "503 Retry-After", "429", "429 Retry-After"]


class Stream(NamedTuple):
    """One stream of an answer."""

    question: str
    number: int  # among the streams of its question, from 1
    attempt: Attempt
    events: int
    reattaches: bool  # to a response that an earlier stream began


class Outage(NamedTuple):
    kind: OutageKind
    until: float  # time.monotonic()


class AttemptsUpstream(Upstream):
    """Answers like `answer_for`, with tagged tokens, and continues a partial answer."""

    def __init__(
        self,
        record: Record | None = None,
        fault_of: Callable[[Stream], StreamFault | None] | None = None,
        *,
        port: int = 0,
        before_fault: Callable[[Stream, str], Awaitable[None]] | None = None,
    ) -> None:
        """`fault_of` says how a stream is spoilt, always behind its first event. `before_fault` is awaited before."""
        super().__init__(port=port)
        self.record = record or Record()
        self.outage: Outage | None = None
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
            return await self._play_down(writer, self.outage)
        stream = self._stream(request)
        fault = None if stream is None or self._fault_of is None else self._fault_of(stream)
        if stream is not None and fault is not None:
            if fault.action == "response failed":
                self.record.spoil(fault.action)
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
            return Stream(question, self.record.streamed(question), attempt, events, reattaches=False)
        if (response := self._response(request)) is not None:
            attempt = self._attempts[id(response.body)]
            events = len(attempt.tokens) + _RESPONSE_EVENTS - 1 - int(request.query["starting_after"])
            return Stream(attempt.question, self.record.streamed(attempt.question), attempt, events, reattaches=True)
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
                await self._before_fault(stream, fault.action)
            self.record.spoil(fault.action)

        # The head goes through, and so does the first event: it names a response, which nobody can find again without.
        begin = 1 if stream.reattaches else 2
        position = begin + fault.at * (stream.events + 2 - begin)
        return cast("asyncio.StreamWriter", SpoiltWriter(writer, fault.action, position, spoil))

    async def _play_down(self, writer: asyncio.StreamWriter, outage: Outage) -> bool:
        self.record.refuse()
        left = max(0.0, outage.until - time.monotonic())
        if outage.kind == "is silent":
            await asyncio.sleep(left)
            return False
        status, _, pause = outage.kind.partition(" ")
        headers = {"retry-after": str(math.ceil(left))} if pause else {}
        body = {"error": {"message": "The provider is down by a script.", "type": "server_error"}}
        await ResponseWriter(writer, Answer(status=int(status), body=body, headers=headers)).document()
        return True
