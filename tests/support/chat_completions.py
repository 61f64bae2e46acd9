"""The scripted upstream's chat completions."""

import asyncio
import json
from collections.abc import Mapping, Sequence

from tests.support.answers import MODEL, Answer
from tests.support.http_exchange import Request, ResponseWriter


class Completion:
    """One streamed answer. It is cancelled when its connection closes."""

    def __init__(self, response_writer: ResponseWriter, request: Request) -> None:
        self.response_writer = response_writer
        self.request = request
        self.answer: Answer = response_writer.answer

    async def play(self) -> bool:
        """Write the answer. Returns whether the connection can take another request."""
        if (reusable := await self.response_writer.without_stream()) is not None:
            return reusable
        await self.response_writer.head()
        if self.answer.raw:
            for piece in self.answer.raw:
                await self.answer.wait_until_due()
                await self.response_writer.chunk(piece)
        elif not await self._events():
            return False
        await self.response_writer.end()
        return True

    async def _events(self) -> bool:
        """Write all events. Returns False if the script cuts the connection."""
        answer = self.answer
        await self._event(self._delta({"role": "assistant", "content": ""}))
        deltas = [{answer.reasoning_field: token} for token in answer.reasoning]
        deltas += [{"content": token} for token in remaining(answer.tokens, self.request.partial)]
        for sent, delta in enumerate([*deltas, None]):
            if sent == answer.error_after:
                await self._event({"error": {"message": "The scripted model broke.", "code": 500}})
                return True
            if sent == answer.stall_after:
                await asyncio.Event().wait()
            if sent == answer.cut_after:
                await self.response_writer.cut()
                return False
            if delta is not None:
                await answer.wait_until_due()
                try:
                    await self._event(self._delta(delta))
                except asyncio.CancelledError:
                    # It was written, and may arrive: only the wait for room behind it ended.
                    self.request.sent += 1
                    raise
                self.request.sent += 1
        await self._tail()
        return True

    async def _tail(self) -> None:
        answer = self.answer
        usage = answer.usage and {
            "prompt_tokens": answer.usage[0],
            "completion_tokens": answer.usage[1],
            "total_tokens": sum(answer.usage),
        }
        if answer.finish is not None:
            finish = self._delta({}, finish=answer.finish)
            await self._event({**finish, "usage": usage} if answer.usage_in_finish else finish)
        if usage and self.request.wants_usage and not answer.usage_in_finish:
            await self._event({**self._delta({}), "choices": [], "usage": usage})
        if answer.done:
            await self.response_writer.chunk(b"data: [DONE]\n\n")

    def _delta(self, delta: Mapping[str, str], finish: str | None = None) -> dict[str, object]:
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": self.request.body.get("model", MODEL),
            "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish}],
        }

    async def _event(self, data: Mapping[str, object]) -> None:
        await self.response_writer.chunk(b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n")


def remaining(tokens: Sequence[str], partial: str) -> list[str]:
    """The tokens after a partial answer, or all tokens if they do not begin with it."""
    if not "".join(tokens).startswith(partial):
        return list(tokens)
    left, rest = len(partial), list[str]()
    for token in tokens:
        if left < len(token):
            rest.append(token[left:])
        left = max(0, left - len(token))
    return rest
