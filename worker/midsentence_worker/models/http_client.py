"""The HTTP client beneath the SDK: the way to the provider, and the bodies of its errors.

The rules:

- The status of an error counts, whatever becomes of its body. The body is read for a short time and up to a size.
- A redirect is followed where the request stays what it is: the same method, at the same origin or at the same host by
  https. By 301, 302 and 303 a POST would become a GET. Another host would be sent the conversation, which the operator
  never agreed to. Such redirects are errors that name the address.
- `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count, but not for a model on this machine: the proxy would
  look for it on its own.
- `SSL_CERT_FILE` and `SSL_CERT_DIR` name further certificate authorities.
"""

import asyncio
import ipaddress
from contextlib import suppress
from typing import Any

import httpx2
import openai

from midsentence_worker.models.byte_stream import BREAKS

# An error whose body is late is reported without its words. Somebody waits in front of an empty answer.
_ERROR_BODY_SECONDS = 2.0
_LONGEST_ERROR_BODY = 64 * 1024
_MOST_REDIRECTS = 5
# They describe the body as it was sent, and it is given on as it was read.
_OF_THE_TRANSFER = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class HttpClient(openai.DefaultAioHttpClient):
    """An httpx2 client over aiohttp, as the SDK makes it."""

    def __init__(self, url: httpx2.URL, timeout: httpx2.Timeout, transport: httpx2.AsyncBaseTransport | None) -> None:
        # Why the environment's proxies cannot be used.
        self._bad_proxy = ""
        options: dict[str, Any] = {
            "timeout": timeout,
            # The worker limits how many turns run; a limit on connections would be a second, invisible queue. For
            # aiohttp 0 means no limit, and None its default of 100.
            "limits": httpx2.Limits(max_connections=0),
            "transport": transport,
            "auth": httpx2.BasicAuth(url.username, url.password) if url.userinfo else None,
            "follow_redirects": False,
        }
        if _is_local(url.host):
            # None stands for the transport without a proxy. These patterns are the ones of the environment's variables.
            options["mounts"] = {"http://": None, "https://": None, "all://": None}
        try:
            super().__init__(**options)
        except (ValueError, httpx2.InvalidURL) as error:
            # The turns say so: a worker that stopped here would be started again and again.
            self._bad_proxy = f"A proxy of the environment cannot be used: {error}"
            super().__init__(**options, trust_env=False)

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """See httpx2. The response of an error has its body, or what could be read of it."""
        response = await self._sent(request, **options)
        for _ in range(_MOST_REDIRECTS):
            following = response.next_request
            if following is None or not _stays(request, following):
                break
            await response.aclose()
            request = following
            response = await self._sent(request, **options)
        if not response.is_success:
            return await _with_body(response)
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response

    async def _sent(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        if self._bad_proxy:
            raise httpx2.ProxyError(self._bad_proxy)
        try:
            return await super().send(request, stream=True, **options)
        except UnicodeError as error:
            # The SDK's transport encodes the reason phrase as UTF-8, and aiohttp decoded bytes that are none.
            raise httpx2.RemoteProtocolError("Its reason phrase is no UTF-8.") from error


async def _with_body(response: httpx2.Response) -> httpx2.Response:
    body = bytearray()
    try:
        with suppress(TimeoutError, *BREAKS):
            async with asyncio.timeout(_ERROR_BODY_SECONDS):
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _LONGEST_ERROR_BODY:
                        break
    finally:
        with suppress(*BREAKS):
            await response.aclose()
    # As bytes: some servers write letters outside ASCII.
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _OF_THE_TRANSFER]
    return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)


def _stays(request: httpx2.Request, following: httpx2.Request) -> bool:
    before, after = request.url, following.url
    if following.method != request.method or after.host != before.host:
        return False
    is_upgrade = (before.scheme, before.port, after.scheme, after.port) == ("http", None, "https", None)
    return is_upgrade or (after.scheme, after.port) == (before.scheme, before.port)


def _is_local(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
