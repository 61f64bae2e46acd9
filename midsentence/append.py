"""What a worker appends to the log, and how it goes over the connection.

The hottest path of a worker: what stays the same as long as a lease does is packed once.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from midsentence import announcements, keys
from midsentence.events import encode
from midsentence.lease import Lease
from midsentence.store.resp import Word, pack
from midsentence.store.store import Packed, Script

_APPEND = Script("append", behind=("announcements", "write"))
_FINISH = Script("finish", behind=("common", "ids", "epochs", "announcements", "session", "write"))

# Turns that one process may write at once before their beginnings are packed anew.
_LEASES = 4096
# The session's hash, its log, its channel.
_APPEND_KEYS = 3


class Write(NamedTuple):
    """Events that a worker appends: the first has the number `first`. With `folded`, they end the turn.

    `mark` is where the model's own stream stands after them, for whoever takes the turn over; empty: it cannot say.
    """

    lease: Lease
    first: int
    events: Sequence[tuple[str, bytes]]
    folded: bytes | None = None
    mark: str = ""


class Written(NamedTuple):
    """`hole`: nothing was written, since the log ends at `seq` and the write would leave numbers out."""

    status: Literal["ok", "fenced", "hole"]
    seq: int
    stop: bool = False


class _Beginning(NamedTuple):
    """What all requests of a lease share."""

    key: str
    wire: str  # an id without its number, as readers know it
    stream: str  # the same in the log
    words: bytes  # EVALSHA to the turn, packed, without the number of words that a request begins with
    word_count: int


@functools.lru_cache(maxsize=_LEASES)
def _beginning(lease: Lease, script: Script, key_count: int) -> _Beginning:
    of_session = keys.session(lease.session_id)[:key_count]
    words = ("EVALSHA", script.digest, key_count, *of_session, lease.holder, lease.turn)
    first = lease.event_id(0)
    return _Beginning(
        of_session[0], str(first).removesuffix("0"), first.stream_id.removesuffix("0"), _words(pack(words)), len(words)
    )


def packed(write: Write, ttl: int, replay: int) -> Packed:
    """A request to append, or, where the write is the turn's last, to finish. `ttl` and `replay` are milliseconds."""
    lease, first, events, folded, mark = write
    script = _APPEND if folded is None else _FINISH
    key, wire, stream, beginning, count = _beginning(
        lease, script, _APPEND_KEYS if folded is None else len(keys.SessionKeys._fields)
    )
    number = first
    frames: list[bytes] = []
    rows: list[Word] = []
    for event_type, data in events:
        frames.append(encode(f"{wire}{number}", event_type, data))
        rows += (f"{stream}{number}", event_type, data)
        number += 1
    before, last = f"{wire}{first - 1}", f"{wire}{number - 1}"
    message = announcements.encode(before, last, b"".join(frames), state_changed=folded is not None)
    if folded is None:
        rest = pack((before, last, message, mark, *rows))
        count += 4 + len(rows)
    else:
        rest = pack((before, last, message, lease.session_id, folded, ttl, replay, *rows))
        count += 7 + len(rows)
    return Packed(key, script.digest, b"*%d\r\n%b%b" % (count, beginning, _words(rest)))


def _words(request: bytes) -> bytes:
    return request[request.index(b"\n") + 1 :]


def written(write: Write, reply: Any) -> Written | Exception:
    """What the scripts reply (lua/write.lua)."""
    if isinstance(reply, int):
        return Written("ok", write.first + len(write.events) - 1, reply == 1)
    if isinstance(reply, Exception):
        return reply
    status, seq, stop = reply
    return Written(status.decode(), seq, bool(stop))
