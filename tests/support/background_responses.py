"""The scripted upstream's OpenAI Responses in background mode: generation goes on without a client."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.answers import MODEL, Answer
from tests.support.http_exchange import Request, ResponseWriter


@dataclass
class Response:
    """One response and its costs, from which tests judge a takeover."""

    id: str
    body: Mapping[str, Any]
    answer: Answer = field(repr=False)
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled", "incomplete"] = "queued"
    generated: int = 0  # tokens, reasoning included
    streamed: int = 0  # connections that streamed it, including the one that created it
    retrieved: int = 0  # GETs that were answered with the whole response
    cancelled: int = 0  # requests to cancel it, whether accepted or not

    # How the next GETs are answered.
    refusals: int = 0  # the number of GETs that are answered 503
    instead_of_stream: Literal["expired", "document"] | None = None  # an error, or the whole response
    replays: bool = False  # from the first event: starting_after is ignored
    numbered: bool = True

    events: list[bytes] = field(default_factory=list[bytes], repr=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def text(self) -> str:
        return "".join(self.answer.tokens[: max(0, self.generated - len(self.answer.reasoning))])

    @property
    def is_over(self) -> bool:
        return self.status not in {"queued", "in_progress"}

    async def write(self) -> None:
        """Generate the answer at its scripted pace."""
        answer = self.answer
        self._event("response.created", response=self.document)
        self._event("response.queued", response=self.document)
        self.status = "in_progress"
        self._event("response.in_progress", response=self.document)
        for token in answer.reasoning:
            if not await self._token("response.reasoning_text.delta", token, "rs_1"):
                return
        self._event("response.output_item.added", output_index=0, item=self._item(()))
        part = _part("")
        self._event("response.content_part.added", item_id="msg_1", output_index=0, content_index=0, part=part)
        for token in answer.tokens:
            if not await self._token("response.output_text.delta", token, "msg_1"):
                return
        if answer.error_after == self.generated:
            self._fail()
            return
        self._event("response.output_text.done", item_id="msg_1", output_index=0, content_index=0, text=self.text)
        self.status = "completed" if answer.finish == "stop" else "incomplete"
        self._event(f"response.{self.status}", response=self.document)

    def cancel(self) -> None:
        if not self.is_over:
            self.status = "cancelled"
            # The API has no event for a cancellation.
            self._event("response.incomplete", response=self.document)

    async def follow(self, response_writer: ResponseWriter, request: Request, after: int) -> bool:
        """Send the events after number `after`. Returns whether the connection can take another request."""
        self.streamed += 1
        spoilt = self.streamed <= self.answer.cuts
        await response_writer.head()
        await asyncio.sleep(self.answer.first_event_delay)
        at = 0 if self.replays else after + 1
        while at < len(self.events) or not self.is_over:
            if spoilt and request.sent == self.answer.stall_after:
                await asyncio.Event().wait()
            if spoilt and (request.sent == self.answer.cut_after or at == self.answer.cut_before_event):
                await response_writer.cut()
                return False
            if at == len(self.events):
                await self._news.wait()
                continue
            await response_writer.chunk(self.events[at])
            request.sent += b".delta" in self.events[at].partition(b"\n")[0]
            at += 1
        await response_writer.end()
        return True

    async def _token(self, kind: str, token: str, item_id: str) -> bool:
        """Generate one token. Returns False if the script ends the response instead."""
        if self.answer.error_after == self.generated and self._fail():
            return False
        await self.answer.wait_until_due()
        if self.is_over:
            return False
        self.generated += 1
        position: dict[str, Any] = {"item_id": item_id, "output_index": 0, "content_index": 0}
        if item_id == "msg_1":
            position["logprobs"] = []
        self._event(kind, **position, delta=token)
        return True

    def _fail(self) -> bool:
        """Fail as scripted. Returns whether the response is over."""
        error = {"code": self.answer.error_code, "message": "The scripted model broke."}
        if self.answer.error_event:
            self._event("error", param=None, **error)
            return False
        self.status = "failed"
        self._event("response.failed", response={**self.document, "error": error})
        return True

    @property
    def document(self) -> dict[str, Any]:
        reason = "max_output_tokens" if self.answer.finish == "length" else self.answer.finish
        return {
            "id": self.id,
            "object": "response",
            "created_at": 1_700_000_000,
            "status": self.status,
            "model": self.body.get("model", MODEL),
            "output": [self._item([_part(self.text)])] if self.is_over else [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "error": None,
            "incomplete_details": {"reason": reason} if self.status == "incomplete" else None,
            "instructions": self.body.get("instructions"),
            "metadata": {},
            "background": True,
            "usage": self._usage if self.is_over else None,
        }

    def _item(self, content: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"id": "msg_1", "type": "message", "role": "assistant", "status": self.status, "content": content}

    @property
    def _usage(self) -> dict[str, Any] | None:
        if self.answer.usage is None:
            return None
        asked, written = self.answer.usage
        return {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + written,
        }

    def _event(self, kind: str, **data: object) -> None:
        number = {"sequence_number": len(self.events)} if self.numbered else {}
        # Escaped, so that a script can split a character.
        self.events.append(f"event: {kind}\ndata: {json.dumps({'type': kind, **number, **data})}\n\n".encode())
        self._news.set()
        self._news = asyncio.Event()


def _part(text: str) -> dict[str, Any]:
    annotations: list[str] = []
    return {"type": "output_text", "text": text, "annotations": annotations}


class Responses(list[Response]):
    """All responses, oldest first. A test removes a response to make the provider forget it."""

    def __init__(self) -> None:
        super().__init__()
        self._writing: set[asyncio.Task[None]] = set()
        self._created = 0
        self.cancels = True  # whether a request to cancel is answered

    async def create(self, response_writer: ResponseWriter, request: Request) -> bool:
        if (reusable := await response_writer.without_stream()) is not None:
            return reusable
        self._created += 1
        response = Response(
            f"resp_{self._created}", request.body, response_writer.answer, numbered=response_writer.answer.numbered
        )
        self.append(response)
        task = asyncio.create_task(response.write())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return await response.follow(response_writer, request, -1)

    async def respond(self, writer: asyncio.StreamWriter, request: Request) -> bool:
        """Answer a request for an existing response."""
        response_id, _, action = request.path.removeprefix("/v1/responses/").partition("/")
        response = next((response for response in self if response.id == response_id), None)
        if action == "cancel" and not self.cancels:
            await asyncio.Event().wait()
        if response is None:
            return await _document(writer, 404, f"Response with id '{response_id}' not found.")
        if action == "cancel":
            return await _cancelled(writer, response)
        if response.refusals:
            response.refusals -= 1
            return await _document(writer, 503, "scripted 503")
        streams = request.query.get("stream") == "true"
        if streams and response.instead_of_stream == "expired":
            message = "This response can no longer be streamed because it is more than 5 minutes old."
            return await _document(writer, 400, message)
        if not streams or response.instead_of_stream == "document":
            response.retrieved += 1
            return await _document(writer, 200, response.document)
        return await response.follow(
            ResponseWriter(writer, response.answer), request, int(request.query["starting_after"])
        )

    async def stop(self) -> None:
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

    @property
    def summary(self) -> list[dict[str, Any]]:
        """The responses and their costs as JSON, for a test in another process."""
        shown = ("id", "status", "generated", "streamed", "retrieved", "cancelled")
        return [{name: getattr(response, name) for name in shown} for response in self]


async def _cancelled(writer: asyncio.StreamWriter, response: Response) -> bool:
    response.cancelled += 1
    if response.is_over and response.status != "cancelled":
        return await _document(writer, 400, f"Cannot cancel a {response.status} response.")
    response.cancel()
    return await _document(writer, 200, response.document)


async def _document(writer: asyncio.StreamWriter, status: int, body: object) -> bool:
    document = {"error": {"message": body}} if isinstance(body, str) else body
    await ResponseWriter(writer, Answer(status=status, body=document)).document()
    return True
