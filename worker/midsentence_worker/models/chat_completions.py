"""Any server with OpenAI's chat completions API: OpenAI, Ollama, llama.cpp, vLLM and many others."""

from collections.abc import AsyncGenerator, Sequence

from midsentence_worker.models import retry
from midsentence_worker.models.base import CannotResumeError, Message, Piece, Takeover
from midsentence_worker.models.chat_answer import ChatAnswer
from midsentence_worker.models.chat_stream import ChatStream
from midsentence_worker.models.client import REQUEST_ERRORS, ModelClient
from midsentence_worker.models.errors import StreamBrokenError, StreamStalledError
from midsentence_worker.models.rehearsal import rehearse

# Without these vLLM closes the partial answer and begins another one behind it. llama.cpp knows them too; versions
# before that continue a last message of the assistant anyway.
_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}

# The statuses of a server that does not know a parameter.
_REFUSED = frozenset({400, 422})

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
        return self._client.spec.name

    @property
    def takeover(self) -> Takeover:
        # Many servers continue a last message of the assistant. Others begin a new answer behind it, and no server says
        # which it does. So "continue" is only for operators who know their server and set it.
        return self._client.spec.takeover_or("restart")

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        """See `Model.stream`. A connection that breaks truncates the answer.

        A last message of the assistant is continued. Raises CannotResumeError where the server refuses to.
        """
        del mark  # chat completions have no marks
        stream = await self._client.with_retries(lambda: self._opened(messages))
        try:
            for piece in stream.first:
                yield piece
            stream.source.pace()
            while stream.is_open:
                # The bytes are read here: a coroutine more for each of them would cost as much as its decoding.
                try:
                    data = await (stream.source.read() if stream.tail_ends is None else stream.read_tail())
                except (StreamStalledError, StreamBrokenError) as error:
                    pieces = stream.broken(error)
                else:
                    pieces = stream.take(data)
                for piece in pieces:
                    yield piece
            for piece in await stream.end():
                yield piece
        finally:
            await stream.aclose()

    async def warm_up(self) -> None:
        await rehearse(ChatCompletionsModel(self._client.scripted(_REHEARSAL)))

    async def cancel(self, mark: str) -> None:
        del mark  # closing the connection ended the call

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _opened(self, messages: Sequence[Message]) -> ChatStream:
        try:
            return await self._with_usage(messages)
        except REQUEST_ERRORS as error:
            if retry.status(error) in _REFUSED and _continues(messages):
                raise CannotResumeError(self._client.errors.of_request(error).message) from error
            raise

    async def _with_usage(self, messages: Sequence[Message]) -> ChatStream:
        if self._takes_usage_option is not False:
            try:
                stream = await self._begun(messages, include_usage=True)
            except REQUEST_ERRORS as error:
                # A server that accepted the option before refuses something else.
                if self._takes_usage_option or retry.status(error) not in _REFUSED:
                    raise
            else:
                self._takes_usage_option = True
                return stream
        stream = await self._begun(messages, include_usage=False)
        self._takes_usage_option = False
        return stream

    async def _begun(self, messages: Sequence[Message], *, include_usage: bool) -> ChatStream:
        """Ask for an answer, and wait for its first pieces: until then the provider may refuse."""
        client = self._client
        body: dict[str, object] = {
            "model": client.model,
            "messages": [{"role": role, "content": text} for role, text in messages],
            "stream": True,
        }
        if include_usage:
            body["stream_options"] = {"include_usage": True}
        if _continues(messages):
            body |= _CONTINUE
        source = await client.post("/chat/completions", body)
        stream = ChatStream(source, ChatAnswer(client.errors, think_tags=client.has_think_tags), client.errors)
        try:
            await stream.begin()
        except BaseException:
            await stream.aclose()
            raise
        return stream


def _continues(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[-1].role == "assistant"
