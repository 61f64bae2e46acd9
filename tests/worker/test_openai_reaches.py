"""What the models rely on that the SDK and its HTTP client do not document.

Each test names one such behaviour, and its docstring names the code that depends on it. When an upgrade of openai,
httpx2 or httpcore2 makes one fail, read that code before anything else.
"""

import json
import socket
from typing import Any

import httpx2
import openai
import pytest

from tests.support.upstream import Answer, Upstream

pytestmark = pytest.mark.anyio


def client(address: str, *, key: str = "none", silence: float = 10) -> openai.AsyncOpenAI:
    http_client = openai.DefaultAsyncHttpxClient(timeout=httpx2.Timeout(silence))
    return openai.AsyncOpenAI(api_key=key, base_url=address, max_retries=0, http_client=http_client)


async def streamed(sdk: openai.AsyncOpenAI) -> list[Any]:
    async with sdk:
        chunks = await sdk.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "Hello?"}], stream=True
        )
        return [chunk async for chunk in chunks]


async def test_a_silent_server_is_a_connection_error_caused_by_a_read_timeout(upstream: Upstream) -> None:
    """`retry.pause` does not ask such a server again, and `ErrorMessages.of_request` reports a stalled model."""
    upstream.answers.append(Answer(no_reply=True))
    with pytest.raises(openai.APIConnectionError) as failure:
        await streamed(client(upstream.url, silence=0.2))
    assert isinstance(failure.value.__cause__, httpx2.ReadTimeout)


async def test_silence_within_a_stream_is_the_sdks_timeout_error(upstream: Upstream) -> None:
    """`ErrorMessages.of_stream` reports a stalled model, and not a truncated answer."""
    upstream.answers.append(Answer(stall_after=1))
    with pytest.raises(openai.APITimeoutError):
        await streamed(client(upstream.url, silence=0.3))


async def test_a_break_within_a_stream_is_the_sdks_connection_error(upstream: Upstream) -> None:
    """`BackgroundResponse` connects again, and `ErrorMessages.of_stream` reports a truncated answer."""
    upstream.answers.append(Answer(cut_after=1))
    with pytest.raises(openai.APIConnectionError) as failure:
        await streamed(client(upstream.url))
    assert not isinstance(failure.value, openai.APITimeoutError)


async def test_a_refused_connection_is_a_connection_error_caused_by_a_connect_error() -> None:
    """`retry.pause` tries again, and `ErrorMessages.of_request` names the address."""
    with socket.socket() as bound:
        # Bound and not listening, so that no other process can listen on this port.
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(openai.APIConnectionError) as failure:
            await streamed(client(f"http://127.0.0.1:{bound.getsockname()[1]}/v1"))
    assert isinstance(failure.value.__cause__, httpx2.ConnectError)


async def test_a_key_with_a_line_break_is_a_local_protocol_error(upstream: Upstream) -> None:
    """`ErrorMessages.of_request` says that OPENAI_API_KEY cannot be a key, and `retry.pause` does not ask again."""
    with pytest.raises(openai.APIConnectionError) as failure:
        await streamed(client(upstream.url, key="sk-a\nb"))
    assert isinstance(failure.value.__cause__, httpx2.LocalProtocolError)


async def test_a_key_outside_ascii_is_a_unicode_encode_error(upstream: Upstream) -> None:
    """`ModelClient.with_retries` catches it beside the SDK's own errors, since it is none of them."""
    with pytest.raises(UnicodeEncodeError):
        await streamed(client(upstream.url, key="sk-é"))


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"data: {not json\n\n", json.JSONDecodeError),
        (b'data: {"choices": "\xff"}\n\n', UnicodeDecodeError),
    ],
    ids=["JSON", "UTF-8"],
)
async def test_data_that_cannot_be_parsed_is_a_value_error(
    upstream: Upstream, raw: bytes, error: type[ValueError]
) -> None:
    """Both models catch ValueError around a stream, since the SDK does not translate these errors."""
    upstream.answers.append(Answer(raw=[raw]))
    with pytest.raises(error):
        await streamed(client(upstream.url))


async def test_an_error_object_in_a_stream_is_an_api_error_with_a_body(upstream: Upstream) -> None:
    """`ErrorMessages.of_stream` quotes `body`."""
    upstream.answers.append(Answer(error_after=1))
    with pytest.raises(openai.APIError) as failure:
        await streamed(client(upstream.url))
    assert "The scripted model broke." in str(failure.value.body)


async def test_fields_that_the_sdk_does_not_know_are_attributes(upstream: Upstream) -> None:
    """`chat_completions._first` reads the reasoning of a delta, which is no field of the SDK's type."""
    upstream.answers.append(Answer(reasoning=["Hm."], reasoning_field="reasoning_content"))
    chunks = await streamed(client(upstream.url))
    assert "Hm." in [getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in chunks if chunk.choices]


@pytest.mark.parametrize("choices", ["null", '[{"delta": null}]', "[{}]"])
async def test_chunks_are_not_validated(upstream: Upstream, choices: str) -> None:
    """`chat_completions` and `background_response` pass over such chunks instead of failing the answer."""
    upstream.answers.append(Answer(raw=[f'data: {{"choices": {choices}}}\n\n'.encode()]))
    (chunk,) = await streamed(client(upstream.url))
    assert getattr(next(iter(chunk.choices or ()), None), "delta", None) is None


async def test_a_stream_has_the_response_with_its_headers(upstream: Upstream) -> None:
    """`ErrorMessages.empty` and `BackgroundResponse` read the content type of a stream."""
    async with client(upstream.url) as sdk:
        chunks = await sdk.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "Hello?"}], stream=True
        )
        assert chunks.response.headers["content-type"].startswith("text/event-stream")
        await chunks.close()
