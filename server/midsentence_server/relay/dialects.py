"""The forms in which the log's events are sent, and who may read them."""

import hmac
from typing import Protocol

from midsentence.events import PING
from midsentence.log import Access

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI sends them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_ENCODED = encoded(HEADERS)


class Dialect(Protocol):
    # The log's own frames are sent unchanged, so all readers share the same bytes.
    is_native: bool
    ping: bytes
    headers: dict[str, str]
    # Encoded once for all streams.
    raw_headers: list[tuple[bytes, bytes]]

    def allows(self, access: Access) -> bool:
        """Whether this client may read such a session."""
        ...

    def render(self, wire: bytes) -> bytes:
        """Translate native frames; b"" where this client gets nothing of them."""
        ...

    @property
    def is_finished(self) -> bool:
        """Nothing more will be sent."""
        ...


class Native:
    """For the session's owner."""

    __slots__ = ("_owner",)

    is_native = True
    ping = PING
    headers = HEADERS
    raw_headers = _ENCODED
    is_finished = False

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def allows(self, access: Access) -> bool:
        return access.owner == self._owner

    def render(self, wire: bytes) -> bytes:
        return wire


class Shared(Native):
    """For a holder of the session's share link, until the owner revokes it."""

    __slots__ = ("_capability",)

    def __init__(self, capability: str) -> None:
        super().__init__("")
        self._capability = capability.encode()

    def allows(self, access: Access) -> bool:
        # Empty means that the session is not shared. The comparison takes constant time.
        return access.share != "" and hmac.compare_digest(access.share.encode(), self._capability)
