"""The ids of events and of sessions."""

import base64
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple, Self

# A turn has this many epochs. The Redis stream id of an event is `<turn * EPOCHS + epoch>-<seq>`, so that stream ids
# and event ids have the same order. lua/epochs.lua says how epochs are given.
EPOCHS = 1000
# A turn that was taken over this often ends with an error. The epochs after it are a reserve for that end.
LAST_TAKEOVER_EPOCH = EPOCHS - 10
# Redis' stream ids end at 2**64. The length of each number keeps every cursor that a client sends far below that.
_EVENT_ID = re.compile(r"(0|[1-9][0-9]{0,11})\.(0|[1-9][0-9]{0,2})-(0|[1-9][0-9]{0,11})", re.ASCII)
# The digits of a stream id's two numbers, by the lengths above.
_LONGEST_MAJOR, _LONGEST_SEQ = 15, 12
_SESSION_ID = re.compile(r"[0-9a-f]{2}[A-Za-z0-9_-]{22}", re.ASCII)
_RANDOM_BYTES = 16


class EventId(NamedTuple):
    """`<turn>.<epoch>-<seq>` names one event of a session for ever. Ids compare in the order of the log."""

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
        """Parse a cursor. Returns None for a malformed one, which is answered with a snapshot and not with an error."""
        match = _EVENT_ID.fullmatch(text)
        return cls(*map(int, match.groups())) if match else None

    @classmethod
    def of(cls, written: bytes) -> Self:
        """Parse an id that a server or a script wrote. Raises ValueError for anything else."""
        event_id = cls.parse(written.decode())
        if event_id is None:
            raise ValueError(f"not an event id: {written!r}")
        return event_id

    @classmethod
    def from_stream(cls, stream_id: str) -> Self:
        major, _, seq = stream_id.partition("-")
        return cls(*divmod(int(major), EPOCHS), int(seq))


def is_of_event(stream_id: bytes) -> bool:
    """Whether an event can have this stream id: Redis allows longer numbers than a cursor does."""
    at = stream_id.find(b"-")
    return at <= _LONGEST_MAJOR and len(stream_id) - at - 1 <= _LONGEST_SEQ


def new_session_id(partitions: int, *, derived_from: tuple[str, str, str] | None = None) -> str:
    """Make a URL-safe id: two hex digits of the partition, then 128 bits.

    The bits are random. Given (secret, owner, idempotency key), they are a keyed hash of owner and key instead: a
    repeated POST then finds the session of its first attempt in the same slot, without another key to keep, and the
    id cannot be guessed without the secret.
    """
    if derived_from is None:
        bits = secrets.token_bytes(1 + _RANDOM_BYTES)
    else:
        secret, owner, key = derived_from
        bits = hmac.digest(secret.encode(), f"{owner}\n{key}".encode(), hashlib.sha256)[: 1 + _RANDOM_BYTES]
    return f"{bits[0] % partitions:02x}" + base64.urlsafe_b64encode(bits[1:]).rstrip(b"=").decode()


def is_session_id(text: str) -> bool:
    """Whether `text` has the form of a session id. Nothing else may become part of a key or cost a round trip."""
    return _SESSION_ID.fullmatch(text) is not None
