"""Any server with OpenAI's chat completions API: OpenAI, Ollama, llama.cpp, vLLM and many others."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Literal

import openai
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionChunk,
    ChatCompletionMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionUserMessageParam,
)

from midsentence.events import Delta, Reasoning, Usage
from midsentence_worker.models.base import CannotResumeError, Finish, Message, Piece, Takeover
from midsentence_worker.models.client import ModelClient
from midsentence_worker.models.rehearsal import rehearse
from midsentence_worker.models.surrogates import SurrogateJoiner

# After the finish reason only the usage can follow. Some servers neither send it nor close the connection.
_USAGE_SECONDS = 5.0

_ENDINGS: dict[str, Literal["length", "content_filter"]] = {
    "length": "length",
    "content_filter": "content_filter",
    "sensitive": "content_filter",  # Zhipu
}
# Failures that OpenRouter, Zhipu and DeepSeek report as finish reasons.
_FAILURES = frozenset({"error", "network_error", "insufficient_system_resource"})

# Without these vLLM closes the partial answer and begins another one behind it. llama.cpp knows them too; versions
# before that continue a last message of the assistant anyway.
_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}

_REHEARSAL = b"""\
data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"."}}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}

data: [DONE]

"""

_Chunks = openai.AsyncStream[ChatCompletionChunk]


class ChatCompletionsModel:
    def __init__(self, client: ModelClient) -> None:
        self._client = client
        # None until a request succeeds: servers refuse the option with different errors, so only a success is proof.
        self._takes_usage_option: bool | None = None

    @property
    def name(self) -> str:
        return self._client.model

    @property
    def takeover(self) -> Takeover:
        # Many servers continue a last message of the assistant. Others begin a new answer behind it, and no server says
        # which it does. So "continue" is only for operators who know their server (MIDSENTENCE_TAKEOVER).
        return "restart"

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        """See `Model.stream`. A connection that breaks truncates the answer.

        A last message of the assistant is continued. Raises CannotResumeError where the server refuses to.
        """
        del mark  # chat completions have no marks
        chunks = await self._client.with_retries(lambda: self._open(messages))
        try:
            async with aclosing(self._pieces(chunks)) as pieces:
                async for piece in pieces:
                    yield piece
        # The SDK raises ValueError for data that is not JSON or not UTF-8.
        except (openai.OpenAIError, ValueError) as error:
            raise self._client.errors.of_stream(error) from error
        finally:
            await chunks.close()

    async def warm_up(self) -> None:
        await rehearse(ChatCompletionsModel(self._client.scripted(_REHEARSAL)))

    async def cancel(self, mark: str) -> None:
        del mark  # closing the connection ended the call

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _open(self, messages: Sequence[Message]) -> _Chunks:
        try:
            return await self._with_usage(messages)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if _continues(messages):
                raise CannotResumeError(self._client.errors.of_request(error).message) from error
            raise

    async def _with_usage(self, messages: Sequence[Message]) -> _Chunks:
        if self._takes_usage_option is not False:
            try:
                chunks = await self._create(messages, include_usage=True)
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                # A server that accepted the option before refuses something else.
                if self._takes_usage_option:
                    raise
            else:
                self._takes_usage_option = True
                return chunks
        chunks = await self._create(messages, include_usage=False)
        self._takes_usage_option = False
        return chunks

    async def _create(self, messages: Sequence[Message], *, include_usage: bool) -> _Chunks:
        return await self._client.sdk.chat.completions.create(
            model=self._client.model,
            messages=[_param(message) for message in messages],
            stream=True,
            stream_options={"include_usage": True} if include_usage else openai.omit,
            extra_body=_CONTINUE if _continues(messages) else None,
        )

    async def _pieces(self, chunks: _Chunks) -> AsyncGenerator[Piece, None]:
        text, reasoning = SurrogateJoiner(), SurrogateJoiner()
        usage, has_chunks = None, False
        while (chunk := await anext(chunks, None)) is not None:
            has_chunks = True
            usage = _usage(chunk) or usage
            choice = _choice(chunk)
            if thought := reasoning.join(_first(choice, "reasoning_content", "reasoning")):
                yield Reasoning(thought)
            if written := text.join(_first(choice, "content", "refusal")):
                yield Delta(written)
            if finish := getattr(choice, "finish_reason", None):
                if rest := text.flush():
                    yield Delta(rest)
                yield Finish(self._reason(finish), await _last_usage(chunks) or usage)
                return
        raise self._client.errors.truncated() if has_chunks else self._client.errors.empty(chunks.response)

    def _reason(self, finish: str) -> Literal["stop", "length", "content_filter"]:
        if finish in _FAILURES:
            raise self._client.errors.failed(f"finish_reason {finish}")
        # No tools are offered, so a tool call ends the answer like "stop". So do reasons that only some servers know.
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


# The SDK does not check the chunks: whatever its types say, each part of a chunk may be missing or null.


def _choice(chunk: Any) -> Any:
    return next(iter(getattr(chunk, "choices", None) or ()), None)


def _first(choice: Any, *names: str) -> str:
    delta = getattr(choice, "delta", None)
    return next((text for name in names if isinstance(text := getattr(delta, name, None), str) and text), "")


def _usage(chunk: Any) -> Usage | None:
    usage = getattr(chunk, "usage", None)
    counts = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    match counts:
        case (int(prompt_tokens), int(answer_tokens)):
            return Usage(prompt_tokens, answer_tokens, "reported")
        case _:
            return None


async def _last_usage(chunks: _Chunks) -> Usage | None:
    """Read the usage that may follow the finish reason. The answer is complete, so a failure is ignored."""
    usage = None
    with suppress(TimeoutError, openai.OpenAIError, ValueError):
        async with asyncio.timeout(_USAGE_SECONDS):
            while (chunk := await anext(chunks, None)) is not None:
                usage = _usage(chunk) or usage
    return usage
