r"""What is published to a session's readers and to workers; the one codec of both formats.

The scripts encode the same formats in lua/announcements.lua. Publishing only wakes processes and happens to carry
data: a message that is lost is found in the log.

A session's channel (`keys.SessionKeys.live`) carries announcements:

    <id before> <id of the last event> <flags>\n<frames>

The ids are those of readers. The frames are the events between the two ids as `events.encode` writes them; they are
empty where events were added to the log without frames, or none were added. The flag is `s` where `state` changed,
else `-`.

A partition's wake channel (`keys.PartitionKeys.wake`) carries the id of a session that has a claimable turn, or
`stop <session id>` where a running turn is to be stopped.
"""

from typing import NamedTuple

from midsentence.ids import is_session_id

_STATE_CHANGED = b"s"
_STOP = b"stop "


# The id before, the id of the last event, whether the state changed, and the frames. A plain tuple, because
# building a NamedTuple for each message would add a tenth to the relay's instructions.
Announcement = tuple[bytes, bytes, bool, bytes]


class Wake(NamedTuple):
    session_id: str
    is_stop: bool


def encode(before: str, last: str, frames: bytes, *, state_changed: bool) -> bytes:
    return b"%b %b %b\n%b" % (before.encode(), last.encode(), _STATE_CHANGED if state_changed else b"-", frames)


def decode(payload: bytes) -> Announcement:
    """Raises ValueError for anything that `encode` does not write. A hot path: one call for each message of Redis."""
    header, _, frames = payload.partition(b"\n")
    before, last, flags = header.split(b" ")
    return before, last, flags == _STATE_CHANGED, frames


def decode_wake(payload: bytes) -> Wake:
    """Raises ValueError for anything but a session's id behind the optional prefix."""
    session_id = payload.removeprefix(_STOP).decode()
    if not is_session_id(session_id):
        raise ValueError("not a wake-up")
    return Wake(session_id, payload.startswith(_STOP))
