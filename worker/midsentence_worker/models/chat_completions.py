"""Any server with OpenAI's chat completions API: OpenAI, Ollama, llama.cpp, vLLM and many others."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial

import openai
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionUserMessageParam,
)

from midsentence_worker.models.base import CannotResumeError, Message, Piece, Takeover
from midsentence_worker.models.byte_stream import ByteStream
from midsentence_worker.models.chat_answer import ChatAnswer
from midsentence_worker.models.client import ModelClient
from midsentence_worker.models.errors import StreamBrokenError, StreamStalledError
from midsentence_worker.models.rehearsal import rehearse

# After the finish reason mostly the usage follows, and sometimes the last text. Some servers neither send `[DONE]` nor
# close the connection: this silence is then the end.
_TAIL_SECONDS = 5.0
# After `[DONE]` only the end of the body follows. It frees the connection for another request.
_END_SECONDS = 0.05

# Without these vLLM closes the partial answer and begins another one behind it. llama.cpp knows them too; versions
# before that continue a last message of the assistant anyway.
_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}

_REHEARSAL = b"""\
data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"."}}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}

data: [DONE]

"""


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
        source = await self._client.with_retries(lambda: self._open(messages))
        try:
            answer = ChatAnswer(self._client.errors)
            tail_ends = None
            while not answer.is_done:
                try:
                    data = await (source.read() if tail_ends is None else _read_until(tail_ends, source))
                except (StreamStalledError, StreamBrokenError) as error:
                    if answer.is_complete:
                        break
                    raise self._client.errors.of_stream(error) from error
                if not data:
                    break
                pieces = answer.feed(data)
                for piece in pieces:
                    yield piece
                if answer.has_failed:
                    raise answer.failure
                if answer.has_finish and (pieces or tail_ends is None):
                    tail_ends = asyncio.get_running_loop().time() + _TAIL_SECONDS
            if answer.is_done:
                await source.read_to_end(_END_SECONDS)
            for piece in answer.end(source.content_type):
                yield piece
        finally:
            await source.aclose()

    async def warm_up(self) -> None:
        await rehearse(ChatCompletionsModel(self._client.scripted(_REHEARSAL)))

    async def cancel(self, mark: str) -> None:
        del mark  # closing the connection ended the call

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _open(self, messages: Sequence[Message]) -> ByteStream:
        try:
            return await self._with_usage(messages)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if _continues(messages):
                raise CannotResumeError(self._client.errors.of_request(error).message) from error
            raise

    async def _with_usage(self, messages: Sequence[Message]) -> ByteStream:
        if self._takes_usage_option is not False:
            try:
                source = await self._create(messages, include_usage=True)
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                # A server that accepted the option before refuses something else.
                if self._takes_usage_option:
                    raise
            else:
                self._takes_usage_option = True
                return source
        source = await self._create(messages, include_usage=False)
        self._takes_usage_option = False
        return source

    async def _create(self, messages: Sequence[Message], *, include_usage: bool) -> ByteStream:
        return await self._client.open(
            partial(
                self._client.sdk.chat.completions.with_raw_response.create,
                model=self._client.model,
                messages=[_param(message) for message in messages],
                stream=True,
                stream_options={"include_usage": True} if include_usage else openai.omit,
                extra_body=_CONTINUE if _continues(messages) else None,
            )
        )


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


async def _read_until(time: float, source: ByteStream) -> bytes:
    """Read on, until a time of the loop's clock. Returns no bytes after it."""
    try:
        async with asyncio.timeout_at(time):
            return await source.read()
    except TimeoutError:
        return b""
