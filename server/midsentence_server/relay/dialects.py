"""How one kind of client wants the log's events."""

import hmac
from typing import Protocol

from midsentence.events import PING
from midsentence.log import Access

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


class Dialect(Protocol):
    # Its frames are the log's own, so that all readers are written the same bytes.
    is_native: bool
    ping: bytes
    headers: dict[str, str]

    def admits(self, access: Access) -> bool:
        """Whether such a session may be read here at all."""
        ...

    def render(self, wire: bytes) -> bytes:
        """Native frames in this dialect; b"" where nothing of them is for this client."""
        ...

    @property
    def over(self) -> bool:
        """Nothing more will be said."""
        ...


class Native:
    """For whoever owns the session."""

    __slots__ = ("_owner",)

    is_native = True
    ping = PING
    headers = HEADERS
    over = False

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def admits(self, access: Access) -> bool:
        return access.owner == self._owner

    def render(self, wire: bytes) -> bytes:
        return wire


class ReadAlong(Native):
    """For whoever was given the session's capability, as long as its owner lets it stand."""

    __slots__ = ("_capability",)

    def __init__(self, capability: str) -> None:
        super().__init__("")
        self._capability = capability.encode()

    def admits(self, access: Access) -> bool:
        # An empty one is none, and no name of an owner is asked for here.
        return access.share != "" and hmac.compare_digest(access.share.encode(), self._capability)
