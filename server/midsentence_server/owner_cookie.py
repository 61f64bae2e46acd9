"""The signed cookie that makes a client the owner of the sessions it starts (protocol, section 3)."""

import secrets
import time

from itsdangerous import BadSignature, Signer
from starlette.requests import Request
from starlette.responses import Response

from midsentence.owners import Owners
from midsentence_server import reply_headers
from midsentence_server.errors import not_found

COOKIE = "midsentence"
# The longest that browsers keep a cookie (RFC 6265bis, 5.5); every visit of the page renews it.
_COOKIE_SECONDS = 400 * 86400
# A Redis that lost its data has a new secret, so an invalid signature makes the server read the secret again. The limit
# keeps forged cookies from becoming load on Redis.
_REFRESH_SECONDS = 5.0
_CACHED_HEADERS = 10_000
_CACHED_CHARS = 512


class OwnerCookies:
    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._signer: Signer | None = None
        self._secret = ""
        self._refreshed_at = 0.0
        # By the whole header, so that a client that reconnects often is parsed and verified once.
        self._owners_by_header: dict[str, str] = {}

    async def secret(self) -> str:
        """Raises StoreUnavailableError where the secret is kept in Redis and Redis does not answer."""
        if self._signer is None:
            await self._refresh()
        return self._secret

    async def owner(self, request: Request) -> str | None:
        """The owner that the cookie names, or None without a valid cookie. Raises StoreUnavailableError."""
        header = request.headers.get("cookie", "")
        if (known := self._owners_by_header.get(header)) is not None:
            return known
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            return None
        name = await self._unsigned(cookie)
        if name is None and time.monotonic() - self._refreshed_at > _REFRESH_SECONDS:
            await self._refresh()
            name = await self._unsigned(cookie)
        if name is not None and len(header) <= _CACHED_CHARS and len(request.headers.getlist("cookie")) == 1:
            if len(self._owners_by_header) >= _CACHED_HEADERS:
                self._owners_by_header.clear()
            self._owners_by_header[header] = name
        return name

    async def owner_or_new(self, request: Request) -> str:
        """As `owner`, or a new owner, whose cookie every reply to this request carries from now on.

        Errors too: a message that is written before the error is found again only by its owner (protocol, 4.4).
        """
        owner = await self.owner(request)
        if owner is None:
            owner = new_owner()
            carrier = Response()
            await self.set_on(request, carrier, owner)
            reply_headers.require(request.scope, "Set-Cookie", carrier.headers["set-cookie"])
        return owner

    async def required(self, request: Request) -> str:
        """As `owner`. Raises HttpError (404) without a valid cookie, so that ids of sessions cannot be probed."""
        owner = await self.owner(request)
        if owner is None:
            raise not_found()
        return owner

    async def set_on(self, request: Request, response: Response, owner: str) -> None:
        await self.secret()
        assert self._signer is not None  # noqa: S101 - just fetched
        response.set_cookie(
            COOKIE,
            self._signer.sign(owner).decode(),
            max_age=_COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )

    async def _unsigned(self, cookie: str) -> str | None:
        await self.secret()
        assert self._signer is not None  # noqa: S101 - just fetched
        try:
            name = self._signer.unsign(cookie).decode()
        except (BadSignature, UnicodeError):
            return None
        return name

    async def _refresh(self) -> None:
        self._secret = await self._owners.secret()
        self._signer = Signer(self._secret, salt="midsentence.owner")
        self._owners_by_header.clear()
        self._refreshed_at = time.monotonic()


def new_owner() -> str:
    return secrets.token_urlsafe(16)
