"""The way to a provider: proxies, addresses, certificates, versions of HTTP, compressed streams."""

import asyncio
import gzip
import ssl
import subprocess
import zlib
from pathlib import Path

import pytest

from midsentence.events import Delta
from midsentence_worker.models import retry
from tests.support.chat_answers import DONE, event, text
from tests.support.model_client import QUESTION, collect, collect_failure, model_at, text_of
from tests.support.raw_provider import raw_provider, reply

pytestmark = [
    pytest.mark.anyio,
    # The SDK's transport hands a proxy's password to aiohttp so.
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'proxy_auth' parameter is deprecated:DeprecationWarning"),
]

STREAM = text("Hello ") + text("world.") + DONE
APIS = pytest.mark.parametrize("api", ["chat", "responses"])
STREAMS = {
    "chat": STREAM,
    "responses": event({"type": "response.created", "response": {"id": "resp_1"}})
    + event({"type": "response.output_text.delta", "delta": "Hello world."})
    + event({"type": "response.completed", "response": {"status": "completed"}}),
}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("scheme", ["http://me:pass@", ""])
async def test_model_elsewhere_is_asked_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    async with raw_provider(reply(STREAM)) as proxy:
        monkeypatch.setenv(variable, f"{scheme}127.0.0.1:{proxy.port}")
        async with model_at("http://model.example/v1") as model:
            assert text_of(await collect(model)) == "Hello world."
    assert proxy.lines == ["POST http://model.example/v1/chat/completions HTTP/1.1"]
    assert ("proxy-authorization" in proxy.headers[0]) == bool(scheme)


async def test_model_by_https_is_asked_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_provider(reply(b"", "407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        async with model_at("https://model.example/v1") as model:
            _, failure = await collect_failure(model)
    assert proxy.lines[0] == "CONNECT model.example:443 HTTP/1.1"
    assert failure.code == "model_unreachable"
    assert "secret" not in failure.message


@pytest.mark.parametrize("no_proxy", ["model.example", ".example", "*"])
async def test_no_proxy_counts(monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    async with raw_provider(reply(STREAM)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        async with model_at("http://model.example:9/v1", timeout_seconds=2) as model:
            await collect_failure(model)
    assert proxy.lines == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "127.0.0.2", "[::1]"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_model_on_this_machine_is_not_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, host: str, variable: str
) -> None:
    async with raw_provider(reply(STREAM)) as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        # Nobody answers there, and not every machine has every address.
        async with model_at(f"http://{host}:9/v1", timeout_seconds=2) as model:
            await collect_failure(model)
    assert proxy.lines == []


async def test_model_on_this_machine_is_asked_although_a_proxy_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with raw_provider(reply(STREAM)) as provider, model_at(provider.url) as model:
        assert text_of(await collect(model)) == "Hello world."


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9", "http://127.0.0.1:9", "http://[", "x y"]
)
async def test_proxy_that_cannot_be_used_is_a_failure_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    async with model_at("http://model.example/v1") as model:
        _, failure = await collect_failure(model)
    assert failure.code == "model_unreachable"


@APIS
async def test_password_of_the_address_is_sent(api: str) -> None:
    async with raw_provider(reply(STREAMS[api])) as provider:
        address = provider.url.replace("//", "//me:p%40ss@")
        async with model_at(f"{address}/?version=7", api=api, key="sk-mine") as model:
            assert text_of(await collect(model)) == "Hello world."
    assert provider.headers[0]["authorization"] == "Basic bWU6cEBzcw=="
    path = {"chat": "chat/completions", "responses": "responses"}[api]
    assert provider.lines == [f"POST /v1/{path}?version=7 HTTP/1.1"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@APIS
async def test_compressed_stream_is_read_although_none_was_asked_for(api: str, encoding: str) -> None:
    body = gzip.compress(STREAMS[api]) if encoding == "gzip" else zlib.compress(STREAMS[api])
    async with (
        raw_provider(reply(body, "200 OK", f"Content-Encoding: {encoding}")) as provider,
        model_at(provider.url, api=api) as model,
    ):
        assert text_of(await collect(model)) == "Hello world."


async def test_token_of_a_compressed_stream_comes_before_the_next_is_sent() -> None:
    packer, read = zlib.compressobj(wbits=31), asyncio.Event()
    first = packer.compress(text("Hello ")) + packer.flush(zlib.Z_SYNC_FLUSH)
    rest = packer.compress(text("world.") + DONE) + packer.flush()
    (head,) = reply(first, "200 OK", "Content-Encoding: gzip")
    async with raw_provider([head, read, rest]) as provider, model_at(provider.url) as model:
        pieces = model.stream(QUESTION)
        assert await anext(pieces) == Delta("Hello ")
        read.set()
        assert text_of([piece async for piece in pieces]) == "world."


async def test_compressed_stream_that_breaks_off_is_truncated() -> None:
    broken = reply(b"no gzip", "200 OK", "Content-Encoding: gzip")
    async with raw_provider(broken) as provider, model_at(provider.url) as model:
        _, failure = await collect_failure(model)
    assert failure.code == "model_truncated"


@APIS
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_stream_that_ends_with_its_connection_is_whole(api: str, version: str) -> None:
    answer = f"HTTP/{version} 200 OK\r\nContent-Type: text/event-stream\r\n\r\n".encode() + STREAMS[api]
    async with raw_provider([answer]) as provider, model_at(provider.url, api=api) as model:
        assert text_of(await collect(model)) == "Hello world."


def certificate_in(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    names = ["-subj", "/CN=model", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(
        ["openssl", "req", *kind, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    return certificate, key


@pytest.mark.needs_openssl
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
async def test_private_certificate_authority_is_named_by_ssl_cert_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_known: bool
) -> None:
    certificate, key = certificate_in(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with (
        raw_provider(reply(STREAM), ssl=server) as provider,
        model_at(provider.url.replace("http:", "https:")) as model,
    ):
        if is_known:
            assert text_of(await collect(model)) == "Hello world."
        else:
            _, failure = await collect_failure(model)
            assert failure.code == "model_unreachable"
            assert "certificate" in failure.message
