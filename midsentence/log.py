"""The session log, the only source of truth about a conversation.

Each method runs one script, so it is one atomic step and one round trip. What a script returns and cannot be read is
passed over (`unreadable`): no value in Redis makes a method fail.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from midsentence.append import Write, Written, packed, written
from midsentence.errors import (
    IdempotencyMismatchError,
    QueueFullError,
    SessionBusyError,
    SessionNotFoundError,
    StoreUnavailableError,
    TurnNotFoundError,
    UnknownModelError,
)
from midsentence.events import EndReason, Entry
from midsentence.fold import read_turn
from midsentence.ids import EventId, is_session_id, new_session_id
from midsentence.lease import Lease
from midsentence.store.scripts import Script, command
from midsentence.store.store import Store
from midsentence.view import CLIENT_KEY, HEAD_FIELDS, Access, Head, Kind, View, head_of, view_of

__all__ = [
    "Access",
    "Head",
    "Kind",
    "OnBusy",
    "SessionLog",
    "Stopped",
    "Submitted",
    "View",
    "Write",
    "Written",
    "automatic_title",
]

OnBusy = Literal["queue", "reject", "interrupt"]

_SUBMIT = Script("submit")
_READ = Script("read")
_DELETE = Script("delete")
_RENAME = Script("rename")
_TITLE = Script("title")
_SHARE = Script("share")
_STOP = Script("stop")
_FOLD = Script("fold")

_TITLE_CHARS = 60
_CAPABILITY_BYTES = 16
# The prefix of a message's key in Redis if the client gave none: a generated key, by which a request that the network
# repeats is recognised.
_GENERATED_KEY = "m:"


class Submitted(NamedTuple):
    session_id: str
    turn: int


class Stopped(NamedTuple):
    """The reply to a stop. `reason` is that of the turn's `end`, or None until a worker has written it."""

    turn: int
    reason: EndReason | None


class SessionLog:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._settings = store.settings
        self._keys = store.keys
        self._ttl = int(store.settings.session_ttl * 1000)
        self._replay = int(store.settings.replay_seconds * 1000)

    async def start(
        self,
        owner: str,
        text: str,
        *,
        key: str | None = None,
        secret: str = "",
        kind: Kind = "chat",
        model: str | None = None,
    ) -> Submitted:
        """Start a session with its first message, which may name the `model` that answers it.

        With a `key`, the session's id is derived from it (`new_session_id`), so that a repeated request finds the
        first one's session. Raises IdempotencyMismatchError, UnknownModelError, StoreUnavailableError.
        """
        derived = None if key is None else (secret, owner, key)
        session_id = new_session_id(self._settings.partitions, derived_from=derived)
        title = automatic_title(text)
        may_return = derived is not None
        return await self._run_submit(
            session_id, owner, text, key, create=True, kind=kind, title=title, model=model, may_return=may_return
        )

    async def submit(
        self,
        session_id: str,
        owner: str,
        text: str,
        *,
        key: str | None = None,
        on_busy: OnBusy = "queue",
        parent: int | None = None,
        model: str | None = None,
    ) -> Submitted:
        """Add a message to a session.

        Where a turn is running, `on_busy` decides: the message waits (`queue`), is refused (`reject`), or stops all
        turns before it (`interrupt`). `parent` is the turn that the message follows, 0 for none; by default the one
        before it in number. `model` is the model that answers, by default the first of the list.

        Raises SessionNotFoundError, IdempotencyMismatchError, UnknownModelError, TurnNotFoundError, SessionBusyError,
        QueueFullError, StoreUnavailableError.
        """
        _check(session_id)
        return await self._run_submit(
            session_id,
            owner,
            text,
            key,
            create=False,
            kind="chat",
            title="",
            on_busy=on_busy,
            parent=parent,
            model=model,
        )

    async def _run_submit(
        self,
        session_id: str,
        owner: str,
        text: str,
        key: str | None,
        *,
        create: bool,
        kind: Kind,
        title: str,
        on_busy: OnBusy = "queue",
        parent: int | None = None,
        model: str | None = None,
        may_return: bool = False,
    ) -> Submitted:
        # The model is the last field, where lua/session.lua finds it.
        named = {} if model is None else {"model": model}
        message = msgspec.json.encode({"role": "user", "text": text, **named})
        models = self._settings.offered_models
        is_unknown = model is not None and model not in models
        stored_key = _GENERATED_KEY + secrets.token_urlsafe(12) if key is None else CLIENT_KEY + key
        parent_turn = "" if parent is None else str(parent)
        digest = hashlib.sha256(message + on_busy.encode() + parent_turn.encode()).hexdigest()[:32]
        # Only the script knows the turn's number, so it adds that to the message and closes the JSON object.
        content = (session_id, owner, int(create), kind, title, stored_key, digest, message[:-1])
        options = (self._settings.queue_limit, self._ttl, on_busy, int(may_return), parent_turn, int(is_unknown))
        status, turn = await self._store.run(_SUBMIT.request(self._keys.session(session_id), (*content, *options)))
        match status:
            case b"missing":
                raise SessionNotFoundError(session_id)
            case b"mismatch":
                raise IdempotencyMismatchError("this Idempotency-Key was used before with another message")
            case b"unknown":
                raise TurnNotFoundError(f"{session_id} has no turn {parent}")
            case b"unknown_model":
                raise UnknownModelError(f"There is no such model; name one of {', '.join(models)}, or none.")
            case b"busy":
                raise SessionBusyError("a turn is running")
            case b"full":
                raise QueueFullError(f"{self._settings.queue_limit} messages wait already")
            case _:
                if self._settings.durable:
                    await self._store.fsynced(self._keys.fsync_mark(session_id))
                return Submitted(session_id, turn)

    async def read(self, session_id: str, cursor: EventId | None = None, *, window: bool = False) -> View:
        """Read a session from a cursor. Raises SessionNotFoundError, StoreUnavailableError.

        Where the log does not hold exactly that event, or the reader is more than MIDSENTENCE_REPLAY_EVENTS behind,
        the view has a fold. With `window` it has the fold and the newest MIDSENTENCE_REPLAY_EVENTS events, which
        together answer readers at any cursor.
        """
        _check(session_id)
        start = "window" if window else cursor.stream_id if cursor else ""
        request = _READ.request(self._keys.session(session_id), (start, self._settings.replay_events))
        reply = await self._store.run(request)
        if reply is None:
            raise SessionNotFoundError(session_id)
        return view_of(session_id, reply, cursor)

    async def heads(self, session_ids: Sequence[str]) -> list[Head | StoreUnavailableError | None]:
        """Read the heads of many sessions in one round trip, without a script: far cheaper than `read`.

        In the place of a session that does not exist is None, of one that cannot be read the error.
        """
        requests = [command("HMGET", self._keys.session(session_id).meta, *HEAD_FIELDS) for session_id in session_ids]
        replies = await self._store.execute_all(requests)
        return [head_of(session_id, reply) for session_id, reply in zip(session_ids, replies, strict=True)]

    async def write(self, writes: Sequence[Write]) -> list[Written | Exception]:
        """Append for many turns in one round trip. Replies are in the order of the writes.

        Where Redis refused a write, or it cannot be encoded, its reply is the error.
        """
        try:
            requests = [packed(write, self._keys, self._ttl, self._replay) for write in writes]
        except ValueError as error:
            if len(writes) == 1:
                return [error.with_traceback(None)]
            # One that cannot be encoded must not fail the others.
            return [(await self.write([write]))[0] for write in writes]
        replies = await self._store.run_all(requests)
        return [written(write, reply) for write, reply in zip(writes, replies, strict=True)]

    def servers(self, leases: Sequence[Lease]) -> Sequence[object]:
        """Name the server that has each lease's session, or None where it is not known. See `Topology.servers`."""
        return self.servers_of([lease.session_id for lease in leases])

    def servers_of(self, session_ids: Sequence[str]) -> Sequence[object]:
        """Name the server that has each session, or None where it is not known. See `Topology.servers`."""
        return self._store.servers([self._keys.jobs(session_id) for session_id in session_ids])

    async def fold(self, lease: Lease, seq: int, messages: bytes) -> bool:
        """Store a checkpoint: the messages of the running turn, folded up to its event `seq`.

        A read then starts from the checkpoint, so that a long answer does not block Redis. Readers see no change.
        Returns False where another worker holds the lease. Raises StoreUnavailableError.
        """
        arguments = (lease.holder, lease.event_id(seq).stream_id, messages, self._ttl)
        request = _FOLD.request(self._keys.session(lease.session_id), arguments)
        return bool(await self._store.run(request))

    async def stop(self, session_id: str, owner: str, turn: int | None = None) -> Stopped:
        """Ask for the end of a turn, by default the running one. Ask again to observe its end.

        The stop is durable: it holds for every worker that runs the turn later. A waiting turn is `stopped` at once,
        and enters the log as such after the turns before it.

        Raises SessionNotFoundError, TurnNotFoundError, StoreUnavailableError.
        """
        _check(session_id)
        request = _STOP.request(self._keys.session(session_id), (session_id, owner, "" if turn is None else turn))
        status, number, *folded = await self._store.run(request)
        match status:
            case b"missing":
                raise SessionNotFoundError(session_id)
            case b"unknown":
                raise TurnNotFoundError(f"{session_id} has no turn {turn}")
            case b"ended":
                return Stopped(number, _end_of(read_turn(folded[0], session_id)))
            case b"stopped":
                return Stopped(number, "stopped")
            case _:
                return Stopped(number, None)

    async def share(self, session_id: str, owner: str) -> str:
        """Return the capability to read the session. It stays the same until `unshare`.

        Raises SessionNotFoundError, StoreUnavailableError.
        """
        return await self._share(session_id, owner, secrets.token_urlsafe(_CAPABILITY_BYTES))

    async def unshare(self, session_id: str, owner: str) -> None:
        """Withdraw the capability to read the session. Raises SessionNotFoundError, StoreUnavailableError."""
        await self._share(session_id, owner, "")

    async def _share(self, session_id: str, owner: str, capability: str) -> str:
        _check(session_id)
        held = await self._store.run(_SHARE.request(self._keys.session(session_id), (owner, capability)))
        if held is None:
            raise SessionNotFoundError(session_id)
        return held.decode()

    async def rename(self, session_id: str, owner: str, title: str) -> None:
        """Set the title; the time to live stays. Raises SessionNotFoundError, StoreUnavailableError."""
        _check(session_id)
        if not await self._store.run(_RENAME.request(self._keys.session(session_id), (owner, title))):
            raise SessionNotFoundError(session_id)

    async def entitle(self, session_id: str, automatic: str, title: str) -> bool:
        """Replace the title that `automatic_title` made of the first message. The time to live stays.

        Returns False where the owner gave another title, or the session is gone. Raises StoreUnavailableError.
        """
        return bool(await self._store.run(_TITLE.request(self._keys.session(session_id), (automatic, title))))

    async def delete(self, session_id: str, owner: str) -> None:
        """Delete a session. Raises SessionNotFoundError, StoreUnavailableError."""
        _check(session_id)
        if not await self._store.run(_DELETE.request(self._keys.session(session_id), (session_id, owner, self._ttl))):
            raise SessionNotFoundError(session_id)


def automatic_title(text: str) -> str:
    """The title of a session before anybody names it: the beginning of its first message, on one line."""
    return " ".join(text.split())[:_TITLE_CHARS]


def _check(session_id: str) -> None:
    # A text from a client must not become part of a key unless it is an id.
    if not is_session_id(session_id):
        raise SessionNotFoundError(session_id)


def _end_of(entries: list[Entry]) -> EndReason:
    """The reason of a turn that has ended; `error` where its last entry does not say it."""
    return (entries[-1].end if entries else None) or "error"
