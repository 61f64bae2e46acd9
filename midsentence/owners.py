"""What belongs to an owner and not to one session: the list of theirs, and the secret that signs who they are."""

import secrets
import time
from typing import Any, NamedTuple

from midsentence import keys
from midsentence.connection import Store, translated

# A list longer than a person can look through only costs; the oldest are still reachable by their address.
_LISTED = 200
# The secret must outlive every session that it gives access to.
_SECRET_TTLS = 4


class Listed(NamedTuple):
    session_id: str
    title: str
    state: str
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
        with translated(self._store.settings):
            pipeline = self._store.pipeline()
            # The clock of this process will do: it only orders a list for people.
            pipeline.zadd(key, {session_id: time.time_ns() // 1000})
            pipeline.pexpire(key, self._ttl)
            await pipeline.execute()

    async def sessions(self, owner: str) -> list[Listed]:
        """List the owner's sessions, newest first, and drop from the list what expired or was deleted."""
        key = keys.owned_sessions(owner)
        with translated(self._store.settings):
            pipeline = self._store.pipeline()
            pipeline.zrevrange(key, 0, _LISTED - 1)
            (names,) = await pipeline.execute()
            ids: list[str] = [name.decode() for name in names]
            pipeline = self._store.pipeline()
            for session_id in ids:
                pipeline.hmget(keys.session(session_id).meta, "owner", "title", "state", "updated")
            found: dict[str, Any] = dict(zip(ids, await pipeline.execute(), strict=True))
            gone = [session_id for session_id, held in found.items() if held[0] != owner.encode()]
            if gone:
                await self._store.pipeline().zrem(key, *gone).execute()
        return [
            Listed(session_id, held[1].decode(), held[2].decode(), int(held[3]))
            for session_id, held in found.items()
            if session_id not in gone
        ]

    async def secret(self) -> str:
        """Find what signs the cookies: the configured secret, else one that the first server made for all."""
        configured = self._store.settings.secret
        if configured is not None:
            return configured
        with translated(self._store.settings):
            pipeline = self._store.pipeline()
            # Whoever loses the race reads the winner's.
            pipeline.set(keys.SECRET, secrets.token_urlsafe(32), nx=True, px=self._ttl * _SECRET_TTLS)
            pipeline.pexpire(keys.SECRET, self._ttl * _SECRET_TTLS)
            pipeline.get(keys.SECRET)
            _, _, kept = await pipeline.execute()
            return kept.decode()
