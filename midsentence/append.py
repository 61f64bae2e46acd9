"""The append: what a worker writes to the log, packed into one request.

This is the hottest path of a worker, so the part of a request that depends on the lease alone is packed once.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from midsentence import announcements
from midsentence.events import encode
from midsentence.keys import Keys, SessionKeys
from midsentence.lease import Lease
from midsentence.store.resp import Word, pack
from midsentence.store.scripts import Request, Script

_APPEND = Script("append", behind=("append_in_order", "common", "announcements", "write"))
_FINISH = Script("finish", behind=("common", "ids", "epochs", "announcements", "session", "write"))

# The heads of this many leases are cached: more than a process runs turns.
_CACHED_LEASES = 4096
# The session's hash, its log and its channel: append.lua uses no other keys.
_APPEND_KEYS = 3


class Write(NamedTuple):
    """Events to append, as (type, JSON data). `first` is the seq of the first one.

    `folded` is given with the turn's last events: the finished messages as `fold.stored_turn` encodes them. `mark` is
    the position in the provider's stream after these events, from which another worker can go on; empty if unknown.
    """

    lease: Lease
    first: int
    events: Sequence[tuple[str, bytes]]
    folded: bytes | None = None
    mark: str = ""


class Written(NamedTuple):
    """The log's answer to a `Write`.

    `seq` is that of the log's last event. `hole`: nothing was written, because the log ends before `first - 1`.
    `fenced`: nothing was written, because another worker holds the lease or the turn is over. `stop`: a stop of the
    turn was asked for.
    """

    status: Literal["ok", "fenced", "hole"]
    seq: int
    stop: bool = False


class _Head(NamedTuple):
    """The part that all requests of a lease share."""

    key: str
    event_prefix: str  # an event id without its seq
    stream_prefix: str  # a stream id without its seq
    words: bytes  # from EVALSHA to the turn, packed, without the RESP array header
    word_count: int


@functools.lru_cache(maxsize=_CACHED_LEASES)
def _head(keys: Keys, lease: Lease, script: Script, key_count: int) -> _Head:
    session_keys = keys.session(lease.session_id)[:key_count]
    words = ("EVALSHA", script.digest, key_count, *session_keys, lease.holder, lease.turn)
    first = lease.event_id(0)
    return _Head(
        session_keys[0],
        str(first).removesuffix("0"),
        first.stream_id.removesuffix("0"),
        _words(pack(words)),
        len(words),
    )


def packed(write: Write, keys: Keys, ttl: int, replay: int) -> Request:
    """Pack the request to append, or to finish the turn where the write is its last. `ttl` and `replay` are in ms."""
    lease, first, events, folded, mark = write
    script = _APPEND if folded is None else _FINISH
    key, event_prefix, stream_prefix, head, count = _head(
        keys, lease, script, _APPEND_KEYS if folded is None else len(SessionKeys._fields)
    )
    number = first
    frames: list[bytes] = []
    rows: list[Word] = []
    for event_type, data in events:
        frames.append(encode(f"{event_prefix}{number}", event_type, data))
        rows += (f"{stream_prefix}{number}", event_type, data)
        number += 1
    before, last = f"{event_prefix}{first - 1}", f"{event_prefix}{number - 1}"
    message = announcements.encode(before, last, b"".join(frames), state_changed=folded is not None)
    if folded is None:
        rest = pack((before, last, message, mark, *rows))
        count += 4 + len(rows)
    else:
        rest = pack((before, last, message, lease.session_id, folded, ttl, replay, *rows))
        count += 7 + len(rows)
    return Request(key, b"*%d\r\n%b%b" % (count, head, _words(rest)), script)


def _words(request: bytes) -> bytes:
    """Cut off the array header of a packed request."""
    return request[request.index(b"\n") + 1 :]


def written(write: Write, reply: Any) -> Written | Exception:
    """Decode the reply to a write (lua/write.lua)."""
    if isinstance(reply, int):
        return Written("ok", write.first + len(write.events) - 1, reply == 1)
    if isinstance(reply, Exception):
        return reply
    status, seq, stop = reply
    return Written(status.decode(), seq, bool(stop))
