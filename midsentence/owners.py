"""What belongs to an owner and not to one session: the list of their sessions, and the secret that signs who they are."""

import secrets
from typing import Any, NamedTuple, cast

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
        self._client: Any = store.client
        self._ttl = int(store.settings.session_ttl * 1000)

    async def note(self, owner: str, session_id: str) -> None:
        """Put a session at the head of its owner's list. Raises StoreUnavailableError; the session itself is safe then."""
        key = keys.owned_sessions(owner)
        with translated(self._store.settings):
            seconds, micros = await self._client.time()
            pipeline = self._client.pipeline(transaction=False)
            pipeline.zadd(key, {session_id: seconds * 1000 + micros // 1000})
            pipeline.pexpire(key, self._ttl)
            await pipeline.execute()

    async def sessions(self, owner: str) -> list[Listed]:
        """The owner's sessions, newest first. What expired or was deleted is dropped from the list on the way."""
        key = keys.owned_sessions(owner)
        with translated(self._store.settings):
            ids = [name.decode() for name in cast("list[bytes]", await self._client.zrevrange(key, 0, _LISTED - 1))]
            pipeline = self._client.pipeline(transaction=False)
            for session_id in ids:
                pipeline.hmget(keys.session(session_id).meta, "owner", "title", "state", "updated")
            found = dict(zip(ids, await pipeline.execute(), strict=True))
            gone = [session_id for session_id, held in found.items() if held[0] != owner.encode()]
            if gone:
                await self._client.zrem(key, *gone)
        return [
            Listed(session_id, held[1].decode(), held[2].decode(), int(held[3]))
            for session_id, held in found.items()
            if session_id not in gone
        ]

    async def secret(self) -> str:
        """What signs the cookies: the configured secret, else one that the first server made for all of them."""
        configured = self._store.settings.secret
        if configured is not None:
            return configured
        with translated(self._store.settings):
            # SET … NX GET would need Redis 7; this is right on every one, since whoever loses the race reads the winner's.
            await self._client.set(keys.SECRET, secrets.token_urlsafe(32), nx=True, px=self._ttl * _SECRET_TTLS)
            await self._client.pexpire(keys.SECRET, self._ttl * _SECRET_TTLS)
            return cast("bytes", await self._client.get(keys.SECRET)).decode()
