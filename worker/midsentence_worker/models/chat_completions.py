"""Any server that speaks OpenAI's chat completions: OpenAI, Ollama, llama.cpp, vLLM, and the many like them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, Literal

import openai
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionChunk,
    ChatCompletionMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionUserMessageParam,
)

from midsentence.settings import Settings
from midsentence_worker.models.base import CannotResumeError, Finish, Message, Piece, Reasoning, Takeover, Text, Usage
from midsentence_worker.models.client import Provider
from midsentence_worker.models.surrogates import Halves

# The answer is complete; only its usage may still come, and some servers neither send that nor hang up.
TAIL_SECONDS: Final = 5.0

_ENDINGS: Final[dict[str, Literal["length", "content_filter"]]] = {
    "length": "length",
    "content_filter": "content_filter",
    "sensitive": "content_filter",  # Zhipu
}
# Not endings but failures, told in the field of an ending: OpenRouter, Zhipu, DeepSeek.
_BROKEN: Final = frozenset({"error", "network_error", "insufficient_system_resource"})

# Without these vLLM closes the partial answer and begins another behind it. llama.cpp knows them too; before it did, it
# went on from a last message of the assistant anyway.
_CONTINUE: Final = {"continue_final_message": True, "add_generation_prompt": False}

_Chunks = openai.AsyncStream[ChatCompletionChunk]


class OpenAIModel:
    def __init__(self, settings: Settings) -> None:
        self._provider = Provider(settings)
        # Unknown until a request succeeds: compatible servers refuse the option in many words.
        self._takes_usage_option: bool | None = None

    @property
    def name(self) -> str:
        return self._provider.model

    @property
    def takeover(self) -> Takeover:
        # Many servers go on from a last message of the assistant; others silently begin another answer behind it, and
        # none says which it does. So that is for whoever knows their server to choose.
        return "restart"

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        """Ask, and yield the answer. A connection that breaks counts as an answer cut short: its text so far stands.

        A last message of the assistant is gone on with. Raises CannotResumeError where the server refuses that.
        """
        del mark  # chat completions have none to give
        chunks = await self._provider.asked(lambda: self._open(messages))
        try:
            async with aclosing(self._pieces(chunks)) as pieces:
                async for piece in pieces:
                    yield piece
        # What is not JSON or not UTF-8 surfaces as a ValueError.
        except (openai.OpenAIError, ValueError) as error:
            raise self._provider.complaints.during(error) from error
        finally:
            await chunks.close()

    async def cancel(self, mark: str) -> None:
        del mark  # closing the connection has ended the call

    async def aclose(self) -> None:
        await self._provider.aclose()

    async def _open(self, messages: Sequence[Message]) -> _Chunks:
        try:
            return await self._with_usage(messages)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if _continues(messages):
                raise CannotResumeError(self._provider.complaints.before(error).message) from error
            raise

    async def _with_usage(self, messages: Sequence[Message]) -> _Chunks:
        if self._takes_usage_option is not False:
            try:
                chunks = await self._create(messages, include_usage=True)
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                # A server that took the option once refuses something else.
                if self._takes_usage_option:
                    raise
            else:
                self._takes_usage_option = True
                return chunks
        chunks = await self._create(messages, include_usage=False)
        self._takes_usage_option = False
        return chunks

    async def _create(self, messages: Sequence[Message], *, include_usage: bool) -> _Chunks:
        return await self._provider.client.chat.completions.create(
            model=self._provider.model,
            messages=[_param(message) for message in messages],
            stream=True,
            stream_options={"include_usage": True} if include_usage else openai.omit,
            extra_body=_CONTINUE if _continues(messages) else None,
        )

    async def _pieces(self, chunks: _Chunks) -> AsyncGenerator[Piece, None]:
        text, reasoning, usage, seen = Halves(), Halves(), None, False
        while (chunk := await anext(chunks, None)) is not None:
            seen = True
            usage = _usage(chunk) or usage
            choice = _choice(chunk)
            if thought := reasoning.join(_first(choice, "reasoning_content", "reasoning")):
                yield Reasoning(thought)
            if written := text.join(_first(choice, "content", "refusal")):
                yield Text(written)
            if finish := getattr(choice, "finish_reason", None):
                if rest := text.rest():
                    yield Text(rest)
                yield Finish(self._reason(finish), await _last_usage(chunks) or usage)
                return
        raise self._provider.complaints.truncated() if seen else self._provider.complaints.empty(chunks.response)

    def _reason(self, finish: str) -> Literal["stop", "length", "content_filter"]:
        if finish in _BROKEN:
            raise self._provider.complaints.gave_up(f"finish_reason {finish}")
        # Tools are not offered, so a call of one is an ending like any other; so are the words of unknown servers.
        return _ENDINGS.get(finish, "stop")


def _continues(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[-1].role == "assistant"


def _param(message: Message) -> ChatCompletionMessageParam:
    match message.role:
        case "system":
            return ChatCompletionSystemMessageParam(role="system", content=message.text)
        case "user":
            return ChatCompletionUserMessageParam(role="user", content=message.text)
        case "assistant":
            return ChatCompletionAssistantMessageParam(role="assistant", content=message.text)


# The SDK builds chunks without checking them: whatever its types say, each part of a chunk may be missing or null.


def _choice(chunk: Any) -> Any:
    return next(iter(getattr(chunk, "choices", None) or ()), None)


def _first(choice: Any, *names: str) -> str:
    delta = getattr(choice, "delta", None)
    return next((text for name in names if isinstance(text := getattr(delta, name, None), str) and text), "")


def _usage(chunk: Any) -> Usage | None:
    usage = getattr(chunk, "usage", None)
    counts = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    match counts:
        case (int(asked), int(written)):
            return Usage(asked, written, "reported")
        case _:
            return None


async def _last_usage(chunks: _Chunks) -> Usage | None:
    """Read what comes after the finish reason; no failure there can take the answer back."""
    usage = None
    with suppress(TimeoutError, openai.OpenAIError, ValueError):
        async with asyncio.timeout(TAIL_SECONDS):
            while (chunk := await anext(chunks, None)) is not None:
                usage = _usage(chunk) or usage
    return usage
