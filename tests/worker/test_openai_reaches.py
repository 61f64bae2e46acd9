"""What the models rely on that the SDK, httpx2 and aiohttp do not document.

Each test names one such behaviour, and its docstring names the code that depends on it. When an upgrade of openai,
httpx2 or aiohttp makes one fail, read that code before anything else.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import openai
import pytest

from midsentence.settings import Settings
from midsentence_worker.models import retry
from midsentence_worker.models.byte_stream import BREAKS, ByteStream
from midsentence_worker.models.client import ModelClient
from midsentence_worker.models.errors import StreamBrokenError, StreamStalledError
from tests.support.raw_provider import RawProvider, Reply, raw_provider, reply
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def client_of(address: str, *, key: str = "none", patience: float = 10) -> AsyncGenerator[ModelClient]:
    variables = {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": key, "model_timeout_seconds": patience}
    settings = Settings.model_validate(variables)
    client = ModelClient(settings.model_list.default, settings)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def asked(*replies: Reply, patience: float = 10) -> AsyncGenerator[tuple[RawProvider, ByteStream]]:
    async with raw_provider(*replies) as provider, client_of(provider.url, patience=patience) as client:
        stream = await client.post("/chat/completions", QUESTION)
        try:
            yield provider, stream
        finally:
            await stream.aclose()


async def read_all(stream: ByteStream) -> None:
    while await stream.read():
        pass


def body_of(stream: ByteStream) -> aiohttp.ClientResponse:
    body = stream._body  # pyright: ignore[reportPrivateUsage]
    assert body is not None
    return body


async def test_response_is_returned_before_its_body() -> None:
    """`ModelClient.post` returns a stream: the SDK gives the response of a request whose `cast_to` is that type."""
    async with asked([HEAD, None]) as (_, stream):
        assert stream.content_type == "text/event-stream"


async def test_response_holds_the_response_of_aiohttp() -> None:
    """`byte_stream._aiohttp_response` reads private attributes of httpx2 and of the SDK's transport."""
    async with asked([HEAD + b"3\r\nabc\r\n", None]) as (_, stream):
        assert await body_of(stream).content.read(10) == b"abc"


async def test_response_of_another_transport_is_read_through_httpx2() -> None:
    """`ModelClient.scripted` has a transport of its own, and `ByteStream` reads what it sends all the same."""
    async with client_of("http://127.0.0.1:1/v1") as client:
        scripted = client.scripted(b"data: x\n\n")
        stream = await scripted.post("/chat/completions", QUESTION)
        assert stream._body is None  # pyright: ignore[reportPrivateUsage]
        assert await stream.read() == b"data: x\n\n"
        assert await stream.read() == b""
        await stream.aclose()
        await scripted.aclose()


async def test_closing_a_response_in_mid_body_closes_its_connection(upstream: Upstream) -> None:
    """`ByteStream.aclose` ends the upstream call by it."""
    answer = Answer(gate=True)
    answer.release()
    upstream.answers.append(answer)
    async with client_of(upstream.url) as client:
        stream = await client.post("/chat/completions", QUESTION)
        await stream.read()
        connection = body_of(stream).connection
        assert connection is not None
        transport = connection.transport
        assert transport is not None
        await stream.aclose()
        assert transport.is_closing()


async def test_closing_a_response_whose_body_was_read_keeps_its_connection(upstream: Upstream) -> None:
    """`ByteStream.read_to_end` frees the connection for the next request by it."""
    async with client_of(upstream.url) as client:
        for _ in range(3):
            stream = await client.post("/chat/completions", QUESTION)
            await read_all(stream)
            await stream.aclose()
    assert upstream.connections == 1


async def test_a_close_while_somebody_reads_raises_what_breaks_raise() -> None:
    """`ByteStream._look` closes the response of a silent provider, and `read` then raises StreamStalledError."""
    async with asked([HEAD, None]) as (_, stream):
        reader = asyncio.ensure_future(body_of(stream).content.read(10))
        await asyncio.sleep(0)
        body_of(stream).close()
        with pytest.raises(BREAKS):
            await asyncio.wait_for(reader, 5)


async def test_number_of_streams_has_no_limit(upstream: Upstream) -> None:
    """`HttpClient` sets max_connections to 0. By None aiohttp would have its own limit, 100."""
    upstream.answers += [Answer(gate=True)] * 150
    async with client_of(upstream.url) as client, asyncio.timeout(60):
        streams = await asyncio.gather(*(client.post("/chat/completions", QUESTION) for _ in range(150)))
        assert len(upstream.requests) == 150
        await asyncio.gather(*(stream.aclose() for stream in streams))


async def test_request_asks_for_no_compression() -> None:
    """`ByteStream` reads from aiohttp's buffer what is not compressed; the SDK adds no other value to the header."""
    async with asked([HEAD, None]) as (provider, _):
        assert provider.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [400, 401, 404, 408, 422, 429, 500, 503])
@pytest.mark.parametrize("body", [b'{"error": "x"}', b"\xff<html>", b""])
async def test_refused_request_is_a_status_error_with_its_response(status: int, body: bytes) -> None:
    """`retry.refusal` reads the status and the headers, and `error_messages._body` the body."""
    async with (
        raw_provider(reply(body, f"{status} X", "Retry-After: 7")) as provider,
        client_of(provider.url) as client,
    ):
        with pytest.raises(openai.APIStatusError) as failure:
            await client.post("/chat/completions", QUESTION)
    response = retry.refusal(failure.value)
    assert response is not None
    assert (response.status_code, response.headers["retry-after"], response.content) == (status, "7", body)


async def test_redirect_is_a_status_error_with_its_target() -> None:
    """`ErrorMessages` names the target."""
    async with raw_provider(reply(b"", "302 X", "Location: /v2")) as provider, client_of(provider.url) as client:
        with pytest.raises(openai.APIStatusError) as failure:
            await client.post("/chat/completions", QUESTION)
    assert failure.value.response.headers["location"] == "/v2"


async def test_silent_server_raises_the_time_out_of_asyncio(upstream: Upstream) -> None:
    """`retry.pause` does not ask such a server again, and `ErrorMessages.of_request` reports a stalled model."""
    upstream.answers.append(Answer(no_reply=True))
    async with client_of(upstream.url, patience=0.2) as client:
        with pytest.raises(TimeoutError) as failure:
            await client.post("/chat/completions", QUESTION)
    assert retry.is_stall(failure.value)


async def test_silence_within_a_stream_is_a_stall(upstream: Upstream) -> None:
    """`ErrorMessages.of_stream` reports a stalled model, and not a truncated answer."""
    upstream.answers.append(Answer(stall_after=1))
    async with client_of(upstream.url, patience=0.3) as client:
        stream = await client.post("/chat/completions", QUESTION)
        with pytest.raises(StreamStalledError):
            await read_all(stream)
        await stream.aclose()


@pytest.mark.parametrize(
    "rest",
    [b"3\r\nabc\r\n", b"5\r\nab", b"zz\r\n", b"3\r\nabc\r\nno chunk"],
    ids=["no last chunk", "cut in a chunk", "no number", "no chunk"],
)
async def test_break_within_a_stream_is_one_of_the_breaks(rest: bytes) -> None:
    """`byte_stream.BREAKS` names what aiohttp and its parser raise."""
    read = asyncio.Event()
    async with asked([HEAD + b"1\r\nx\r\n", read, rest]) as (_, stream):
        assert await stream.read() == b"x"
        read.set()
        with pytest.raises(StreamBrokenError):
            await read_all(stream)


async def test_bytes_that_came_before_a_break_are_read_before_it() -> None:
    """`ByteStream.read` takes them from a private method of aiohttp, whose public ones raise the error first."""
    read = asyncio.Event()
    async with asked([HEAD + b"1\r\nx\r\n", read, b"3\r\nabc\r\n"]) as (_, stream):
        assert await stream.read() == b"x"
        read.set()
        await eventually(body_of(stream).content.exception, description="the break was noticed")
        assert await stream.read() == b"abc"
        with pytest.raises(StreamBrokenError):
            await stream.read()


async def test_bytes_that_came_before_a_break_stay_in_the_buffer() -> None:
    """`ByteStream._buffered` takes them by a private method: aiohttp raises the error first."""
    async with asked([HEAD + b"3\r\nabc\r\n"]) as (_, stream):
        content = body_of(stream).content
        await eventually(content.exception, description="the connection was lost")
        with pytest.raises(BREAKS):
            await content.read(10)
        assert content._read_nowait(-1) == b"abc"  # pyright: ignore[reportPrivateUsage]


async def test_buffer_tells_what_came_without_being_read() -> None:
    """`ByteStream.has_news` compares it with what was read, for streams that are read at ticks."""
    last = asyncio.Event()
    async with asked([HEAD + b"3\r\nabc\r\n", last, b"0\r\n\r\n"]) as (_, stream):
        content = body_of(stream).content
        await eventually(lambda: content.total_bytes == 3, description="three bytes came")
        assert await content.read(10) == b"abc"
        assert (content.total_bytes, content.is_eof(), content.exception()) == (3, False, None)
        last.set()
        await eventually(content.is_eof, description="the body has ended")


async def test_garbage_with_the_head_is_one_of_the_breaks() -> None:
    """`client.REQUEST_ERRORS` contains them: neither the SDK nor its transport translates this one."""
    async with raw_provider([HEAD + b"zz\r\n"]) as provider, client_of(provider.url) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.post("/chat/completions", QUESTION)


async def test_refused_connection_is_an_error_of_the_sdk() -> None:
    """`retry.pause` tries again, and `ErrorMessages.of_request` names the address and quotes the cause."""
    with socket.socket() as bound:
        # Bound and not listening, so that no other process can listen on this port.
        bound.bind(("127.0.0.1", 0))
        async with client_of(f"http://127.0.0.1:{bound.getsockname()[1]}/v1") as client:
            with pytest.raises(openai.APIConnectionError) as failure:
                await client.post("/chat/completions", QUESTION)
    assert "Cannot connect to host" in str(failure.value.__cause__)
    assert not retry.is_stall(failure.value)


async def test_connection_that_ends_before_an_answer_is_an_error_of_the_sdk(upstream: Upstream) -> None:
    """It is no stall, although the SDK's transport calls it a time-out of the connection: `retry.pause` tries again."""
    upstream.answers.append(Answer(hang_up=True))
    async with client_of(upstream.url) as client:
        with pytest.raises(openai.APIConnectionError) as failure:
            await client.post("/chat/completions", QUESTION)
    assert not retry.is_stall(failure.value)
    assert retry.pause(failure.value, 0) is not None


async def test_query_of_the_address_is_sent_with_every_request() -> None:
    """`ModelClient` hands it on as `default_query`; the SDK would append the path of a request to it."""
    async with raw_provider(reply(b"")) as provider, client_of(f"{provider.url}/?version=7&x=a%20b") as client:
        await (await client.post("/chat/completions", QUESTION)).aclose()
        await (await client.get("/responses/resp_1", {"stream": True})).aclose()
    assert provider.lines == [
        "POST /v1/chat/completions?version=7&x=a+b HTTP/1.1",
        "GET /v1/responses/resp_1?version=7&x=a+b&stream=true HTTP/1.1",
    ]
