"""Names: of an event in a session's log, and of a session."""

import base64
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple, Self

# The Redis stream id of an event is `<turn * EPOCHS + epoch>-<seq>`, so both sort alike; see docs/design.md,
# "Event ids".
EPOCHS = 1000
# 2**64 is where Redis' own ids end; the bound below keeps every part far inside it, whatever a client sends as a
# cursor.
_EVENT_ID = re.compile(r"(0|[1-9][0-9]{0,11})\.(0|[1-9][0-9]{0,2})-(0|[1-9][0-9]{0,11})", re.ASCII)
_SESSION_ID = re.compile(r"[0-9a-f]{2}[A-Za-z0-9_-]{22}", re.ASCII)
_RANDOM_BYTES = 16


class EventId(NamedTuple):
    """`<turn>.<epoch>-<seq>`, one event of one session for ever. Compares in the order of the log."""

    turn: int
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.turn}.{self.epoch}-{self.seq}"

    @property
    def stream_id(self) -> str:
        return f"{self.turn * EPOCHS + self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The id that `text` writes, or None: a malformed cursor is answered with a snapshot, not with an error."""
        match = _EVENT_ID.fullmatch(text)
        return cls(*map(int, match.groups())) if match else None

    @classmethod
    def of(cls, written: bytes) -> Self:
        """The id that a server or a script wrote. Raises ValueError for anything else."""
        event_id = cls.parse(written.decode())
        if event_id is None:
            raise ValueError(f"not an event id: {written!r}")
        return event_id

    @classmethod
    def from_stream(cls, stream_id: str) -> Self:
        major, _, seq = stream_id.partition("-")
        return cls(*divmod(int(major), EPOCHS), int(seq))


def new_session_id(partitions: int, *, derived_from: tuple[str, str, str] | None = None) -> str:
    """A URL-safe id: two hex digits of the partition, then 128 bits.

    The bits are random, or, given (secret, owner, idempotency key), a keyed hash of the last two: the repeated POST
    then meets the session that its first try made, in one slot and without another key, while nobody without the
    secret can guess the id.
    """
    if derived_from is None:
        noise = secrets.token_bytes(1 + _RANDOM_BYTES)
    else:
        secret, owner, key = derived_from
        noise = hmac.digest(secret.encode(), f"{owner}\n{key}".encode(), hashlib.sha256)[: 1 + _RANDOM_BYTES]
    return f"{noise[0] % partitions:02x}" + base64.urlsafe_b64encode(noise[1:]).rstrip(b"=").decode()


def is_session_id(text: str) -> bool:
    """Whether `text` has the form of a session id; anything else need not cost a round trip, nor may it form a key."""
    return _SESSION_ID.fullmatch(text) is not None
