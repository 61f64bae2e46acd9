"""How one kind of client wants the log's events."""

from typing import Protocol

from midsentence.events import PING

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

    def admits(self, owner: str, kind: str) -> bool:
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

    def admits(self, owner: str, kind: str) -> bool:  # noqa: ARG002 - of either kind
        return owner == self._owner

    def render(self, wire: bytes) -> bytes:
        return wire
