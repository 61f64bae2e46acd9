"""What belongs to an owner and not to one session: the list of theirs, and the secret that signs who they are."""

import secrets
import time
from typing import Any, NamedTuple

from midsentence import keys
from midsentence.errors import StoreUnavailableError
from midsentence.store.store import Store

# A list longer than a person can look through only costs; the oldest are still reachable by their address.
_LISTED = 200
# The secret must outlive every session that it gives access to.
_SECRET_TTLS = 4


class Listed(NamedTuple):
    session_id: str
    title: str
    state: str
    turn: int  # the newest in the log
    updated: int  # milliseconds since 1970


class Owners:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._ttl = int(store.settings.session_ttl * 1000)

    async def note(self, owner: str, session_id: str) -> None:
        """Put a session at the head of its owner's list.

        Raises StoreUnavailableError; the session itself is safe then.
        """
        key = keys.owned_sessions(owner)
        # The clock of this process will do: it only orders a list for people.
        now = time.time_ns() // 1000
        await self._store.execute(("ZADD", key, now, session_id), ("PEXPIRE", key, self._ttl))

    async def sessions(self, owner: str) -> list[Listed]:
        """List the owner's sessions, newest first, and drop from the list what expired or was deleted."""
        key = keys.owned_sessions(owner)
        (names,) = await self._store.execute(("ZREVRANGE", key, 0, _LISTED - 1))
        ids: list[str] = [name.decode() for name in names]
        fields = ("owner", *Listed._fields[1:])
        replies = await self._store.execute_all(
            [("HMGET", keys.session(session_id).meta, *fields) for session_id in ids]
        )
        # A cluster that lacks one master still lists what the others hold.
        found: dict[str, Any] = {
            session_id: reply
            for session_id, reply in zip(ids, replies, strict=True)
            if not isinstance(reply, StoreUnavailableError)
        }
        gone = [session_id for session_id, held in found.items() if held[0] != owner.encode()]
        if gone:
            await self._store.execute(("ZREM", key, *gone))
        return [
            Listed(session_id, held[1].decode(), held[2].decode(), int(held[3]), int(held[4]))
            for session_id, held in found.items()
            if session_id not in gone
        ]

    async def secret(self) -> str:
        """Find what signs the cookies: the configured secret, else one that the first server made for all."""
        configured = self._store.settings.secret
        if configured is not None:
            return configured
        lifetime = self._ttl * _SECRET_TTLS
        _, _, kept = await self._store.execute(
            # Whoever loses the race reads the winner's.
            ("SET", keys.SECRET, secrets.token_urlsafe(32), "NX", "PX", lifetime),
            ("PEXPIRE", keys.SECRET, lifetime),
            ("GET", keys.SECRET),
        )
        return kept.decode()
