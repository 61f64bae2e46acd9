"""The list of an owner's sessions, and the secret that signs the owners' cookies.

The list is read by the rule of `unreadable`: a session whose fields cannot be read is listed by what can be read.
"""

import secrets
import time
from typing import Any, NamedTuple

from midsentence.errors import StoreUnavailableError
from midsentence.ids import is_session_id
from midsentence.store.scripts import command
from midsentence.store.store import Store
from midsentence.unreadable import passed_over, read_number, read_text
from midsentence.view import state_of

# A longer list costs more than it helps. An older session is still reachable by its address.
_LIST_LIMIT = 200
# The secret must outlive every session that it protects.
_SECRET_TTLS = 4


class ListedSession(NamedTuple):
    session_id: str
    title: str
    state: str
    turn: int  # the newest turn in the log
    updated: int  # time of the last message, in ms since 1970


class Owners:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._ttl = int(store.settings.session_ttl * 1000)

    async def note(self, owner: str, session_id: str) -> None:
        """Move a session to the head of its owner's list.

        Raises StoreUnavailableError. The session itself is safe then: the list is only a hint.
        """
        key = self._store.keys.owned_sessions(owner)
        # The local clock is precise enough to order a list.
        now = time.time_ns() // 1000
        await self._store.execute(command("ZADD", key, now, session_id), command("PEXPIRE", key, self._ttl))

    async def sessions(self, owner: str) -> list[ListedSession]:
        """List the owner's sessions, newest first, and remove expired and deleted ones from the list."""
        key = self._store.keys.owned_sessions(owner)
        (names,) = await self._store.execute(command("ZREVRANGE", key, 0, _LIST_LIMIT - 1))
        ids: list[str] = [session_id for name in names if is_session_id(session_id := name.decode(errors="replace"))]
        fields = ("owner", *ListedSession._fields[1:])
        replies = await self._store.execute_all(
            [command("HMGET", self._store.keys.session(session_id).meta, *fields) for session_id in ids]
        )
        found: dict[str, Any] = {}
        for session_id, reply in zip(ids, replies, strict=True):
            if not isinstance(reply, Exception):
                found[session_id] = reply
            elif not isinstance(reply, StoreUnavailableError):
                # A key that is no hash. A cluster without one of its masters still lists the sessions of the others.
                passed_over(session_id, "hash")
        gone = [session_id for session_id, held in found.items() if held[0] != owner.encode()]
        if gone:
            await self._store.execute(command("ZREM", key, *gone))
        return [_listed(session_id, *held) for session_id, held in found.items() if session_id not in gone]

    async def secret(self) -> str:
        """Return the secret that signs cookies: the configured one, or else one that the first server stored."""
        configured = self._store.settings.secret
        if configured is not None:
            return configured
        lifetime = self._ttl * _SECRET_TTLS
        _, _, kept = await self._store.execute(
            # Of two servers that start at once, SET NX stores one secret and GET gives it to both.
            command("SET", self._store.keys.secret, secrets.token_urlsafe(32), "NX", "PX", lifetime),
            command("PEXPIRE", self._store.keys.secret, lifetime),
            command("GET", self._store.keys.secret),
        )
        return kept.decode()


def _listed(
    session_id: str, _owner: bytes, title: bytes | None, state: bytes | None, turn: bytes | None, updated: bytes | None
) -> ListedSession:
    return ListedSession(
        session_id,
        read_text(title, session_id, "title"),
        state_of(state, session_id),
        read_number(turn, session_id, "turn"),
        read_number(updated, session_id, "updated"),
    )
