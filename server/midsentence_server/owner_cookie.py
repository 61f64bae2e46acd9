"""Who is asking: a signed cookie makes a visitor the owner of the sessions they start (protocol, section 3)."""

import secrets
import time

from itsdangerous import BadSignature, Signer
from starlette.requests import Request
from starlette.responses import Response

from midsentence.owners import Owners
from midsentence_server.errors import not_found

COOKIE = "midsentence"
# Browsers keep a cookie 400 days at the most (RFC 6265bis, 5.5); every visit of the page renews it.
_COOKIE_SECONDS = 400 * 86400
# A Redis that lost its data has a new secret. Looking for it no more often than this keeps forged cookies from
# becoming load on Redis.
_LOOK_AGAIN_SECONDS = 5.0
_REMEMBERED = 10_000


class Visitors:
    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._signer: Signer | None = None
        self._secret = ""
        self._looked = 0.0
        # Cookies that were found good: a crowd that reconnects is checked once.
        self._owners_by_cookie: dict[str, str] = {}

    async def secret(self) -> str:
        """Raises StoreUnavailableError where the secret is kept in Redis and Redis is away."""
        if self._signer is None:
            await self._look()
        return self._secret

    async def owner(self, request: Request) -> str | None:
        """The visitor's name, or None without a cookie that we signed. Raises StoreUnavailableError."""
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            return None
        if (known := self._owners_by_cookie.get(cookie)) is not None:
            return known
        name = await self._unsigned(cookie)
        if name is None and time.monotonic() - self._looked > _LOOK_AGAIN_SECONDS:
            await self._look()
            name = await self._unsigned(cookie)
        return name

    async def known(self, request: Request) -> str:
        """The visitor's name. Raises Refusal (404): to a stranger, nothing is here."""
        owner = await self.owner(request)
        if owner is None:
            raise not_found()
        return owner

    async def remember(self, request: Request, response: Response, owner: str) -> None:
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
        if len(self._owners_by_cookie) >= _REMEMBERED:
            self._owners_by_cookie.clear()
        self._owners_by_cookie[cookie] = name
        return name

    async def _look(self) -> None:
        self._secret = await self._owners.secret()
        self._signer = Signer(self._secret, salt="midsentence.owner")
        self._owners_by_cookie.clear()
        self._looked = time.monotonic()


def new_owner() -> str:
    return secrets.token_urlsafe(16)
