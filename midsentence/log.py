"""The session log: the truth about every conversation.

Each method is one script, hence one atomic step and one round trip.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from midsentence import keys
from midsentence.append import Write, Written, packed, written
from midsentence.errors import (
    IdempotencyMismatchError,
    QueueFullError,
    SessionBusyError,
    SessionNotFoundError,
    TurnNotFoundError,
)
from midsentence.events import EndReason, Entry, Event, Queued, Snapshot, State
from midsentence.fold import Fold
from midsentence.ids import EventId, is_session_id, new_session_id
from midsentence.lease import Lease
from midsentence.store.store import Call, Script, Store

__all__ = ["Access", "Kind", "OnBusy", "SessionLog", "Stopped", "Submitted", "View", "Write", "Written"]

Kind = Literal["chat", "push"]
OnBusy = Literal["queue", "reject", "interrupt"]

_SUBMIT = Script("submit")
_READ = Script("read")
_DELETE = Script("delete")
_RENAME = Script("rename")
_SHARE = Script("share")
_STOP = Script("stop")
_FOLD = Script("fold")

_TITLE_CHARS = 60
_CAPABILITY_BYTES = 16
# How a message's key stands in Redis: a client's own, or one made up so that a repeated network request is recognised
# all the same.
_CLIENT_KEY, _MADE_UP_KEY = "c:", "m:"

_entries = msgspec.json.Decoder(list[Entry]).decode


class Submitted(NamedTuple):
    session_id: str
    turn: int


class Stopped(NamedTuple):
    """What became of a turn that was to be stopped: its observed end, or None while the worker has not written it."""

    turn: int
    reason: EndReason | None


class Access(NamedTuple):
    """Who may read a session: its owner, and whoever was given the capability `share`, empty where there is none."""

    owner: str
    kind: Kind
    share: str


class View(NamedTuple):
    """One consistent look at a session.

    `events` follow the event `after`. `fold` is None where the reader's cursor was honoured, which is `after` then.
    """

    access: Access
    state: State
    turn: int
    top: EventId
    title: str
    model: str | None
    queued: list[Queued]
    after: EventId
    events: list[Event]
    fold: Fold | None

    def snapshot(self, session_id: str) -> Snapshot:
        assert self.fold is not None  # noqa: S101 - a caller's mistake, not a condition
        return Snapshot(session_id, self.state, self.fold.messages())


class SessionLog:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._settings = store.settings
        self._ttl = int(store.settings.session_ttl * 1000)
        self._replay = int(store.settings.replay_seconds * 1000)

    async def start(
        self, owner: str, text: str, *, key: str | None = None, secret: str = "", kind: Kind = "chat"
    ) -> Submitted:
        """Start a session with its first message.

        With a `key`, the session's id is derived from it (`new_session_id`), so that a repeated request finds the
        first one's session. Raises IdempotencyMismatchError, StoreUnavailableError.
        """
        derived = None if key is None else (secret, owner, key)
        session_id = new_session_id(self._settings.partitions, derived_from=derived)
        title = " ".join(text.split())[:_TITLE_CHARS]
        may_return = derived is not None
        return await self._run_submit(
            session_id, owner, text, key, create=True, kind=kind, title=title, may_return=may_return
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
    ) -> Submitted:
        """Add a message to a session. Where a turn is running it waits, is refused, or stops all that is before it.

        `parent` is the turn that it follows, 0 for none; by default the one before it in number.

        Raises SessionNotFoundError, IdempotencyMismatchError, TurnNotFoundError, SessionBusyError, QueueFullError,
        StoreUnavailableError.
        """
        _check(session_id)
        return await self._run_submit(
            session_id, owner, text, key, create=False, kind="chat", title="", on_busy=on_busy, parent=parent
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
        may_return: bool = False,
    ) -> Submitted:
        message = msgspec.json.encode({"role": "user", "text": text})
        stored_key = _MADE_UP_KEY + secrets.token_urlsafe(12) if key is None else _CLIENT_KEY + key
        follows = "" if parent is None else str(parent)
        digest = hashlib.sha256(message + on_busy.encode() + follows.encode()).hexdigest()[:32]
        # The script adds the turn's number to the message, which only it knows: hence the object goes over unclosed.
        about = (session_id, owner, int(create), kind, title, stored_key, digest, message[:-1])
        manner = (self._settings.queue_limit, self._ttl, on_busy, int(may_return), follows)
        status, turn = await self._store.run(Call(_SUBMIT, keys.session(session_id), (*about, *manner)))
        match status:
            case b"missing":
                raise SessionNotFoundError(session_id)
            case b"mismatch":
                raise IdempotencyMismatchError("this Idempotency-Key was used before with another message")
            case b"unknown":
                raise TurnNotFoundError(f"{session_id} has no turn {parent}")
            case b"busy":
                raise SessionBusyError("a turn is running")
            case b"full":
                raise QueueFullError(f"{self._settings.queue_limit} messages wait already")
            case _:
                if self._settings.durable:
                    await self._store.fsynced(keys.fsync_mark(session_id))
                return Submitted(session_id, turn)

    async def read(self, session_id: str, cursor: EventId | None = None, *, window: bool = False) -> View:
        """Look at a session from a cursor. Raises SessionNotFoundError, StoreUnavailableError.

        Where the log does not hold exactly that cursor, or the reader is further behind than
        MIDSENTENCE_REPLAY_EVENTS, the view has a fold. With `window` it has both the fold and as many of the newest
        events: whatever cursors there are, that answers all of them.
        """
        _check(session_id)
        place = "window" if window else cursor.stream_id if cursor else ""
        arguments = (place, self._settings.replay_events)
        reply = await self._store.run(Call(_READ, keys.session(session_id), arguments))
        if reply is None:
            raise SessionNotFoundError(session_id)
        return _view(reply, cursor)

    async def write(self, writes: Sequence[Write]) -> list[Written | Exception]:
        """Append for many turns in one round trip.

        A write that Redis refused stands as its error in the write's place.
        """
        replies = await self._store.run_all([packed(write, self._ttl, self._replay) for write in writes])
        return [written(write, reply) for write, reply in zip(writes, replies, strict=True)]

    async def fold(self, lease: Lease, seq: int, messages: bytes) -> bool:
        """Keep what the running turn folds to up to one of its events; False where it is no longer this lease's.

        Whoever attaches then reads what follows, and no Redis is held up by the length of an answer. It changes nothing
        that anybody sees. Raises StoreUnavailableError.
        """
        arguments = (lease.holder, lease.event_id(seq).stream_id, messages, self._ttl)
        call = Call(_FOLD, keys.session(lease.session_id), arguments)
        return bool(await self._store.run(call))

    async def stop(self, session_id: str, owner: str, turn: int | None = None) -> Stopped:
        """Ask for the end of a turn, the one that runs unless another is named; ask again to learn of its end.

        Durable: a turn that is stopped stays so, whoever runs it. One that waits in the queue is `stopped` at once and
        enters the log as such when its place comes.

        Raises SessionNotFoundError, TurnNotFoundError, StoreUnavailableError.
        """
        _check(session_id)
        call = Call(_STOP, keys.session(session_id), (session_id, owner, "" if turn is None else turn))
        status, number, *folded = await self._store.run(call)
        match status:
            case b"missing":
                raise SessionNotFoundError(session_id)
            case b"unknown":
                raise TurnNotFoundError(f"{session_id} has no turn {turn}")
            case b"ended":
                return Stopped(number, _entries(folded[0])[-1].end)
            case b"stopped":
                return Stopped(number, "stopped")
            case _:
                return Stopped(number, None)

    async def share(self, session_id: str, owner: str) -> str:
        """Let whoever has a capability read along, and give it; the same until `unshare`.

        Raises SessionNotFoundError, StoreUnavailableError.
        """
        return await self._share(session_id, owner, secrets.token_urlsafe(_CAPABILITY_BYTES))

    async def unshare(self, session_id: str, owner: str) -> None:
        """Let nobody read along any more. Raises SessionNotFoundError, StoreUnavailableError."""
        await self._share(session_id, owner, "")

    async def _share(self, session_id: str, owner: str, capability: str) -> str:
        _check(session_id)
        held = await self._store.run(Call(_SHARE, keys.session(session_id), (owner, capability)))
        if held is None:
            raise SessionNotFoundError(session_id)
        return held.decode()

    async def rename(self, session_id: str, owner: str, title: str) -> None:
        """Give a session another title; its time to live stays. Raises SessionNotFoundError, StoreUnavailableError."""
        _check(session_id)
        if not await self._store.run(Call(_RENAME, keys.session(session_id), (owner, title))):
            raise SessionNotFoundError(session_id)

    async def delete(self, session_id: str, owner: str) -> None:
        """Forget a session. Raises SessionNotFoundError, StoreUnavailableError."""
        _check(session_id)
        if not await self._store.run(Call(_DELETE, keys.session(session_id), (session_id, owner, self._ttl))):
            raise SessionNotFoundError(session_id)


def _check(session_id: str) -> None:
    # What does not look like an id must not form a key either.
    if not is_session_id(session_id):
        raise SessionNotFoundError(session_id)


def _view(reply: Any, cursor: EventId | None) -> View:
    owner, kind, share, state, turn, top, title, model, queue, mode, content, *rest = reply
    number = int(turn)
    after = newest = EventId.of(top)
    if mode == b"tail":
        assert cursor is not None  # noqa: S101 - it was asked for
        after, events, fold = cursor, _events(content), None
    else:
        stored = dict(zip(content[::2], content[1::2], strict=True))
        running = stored.pop(b"running", None)
        # Redis gives a hash in no order.
        fold = Fold([*(stored[name] for name in sorted(stored, key=int)), *([running] if running else [])])
        fold.apply_all(number, ((fields[0].decode(), fields[1]) for _, fields in rest[0]))
        events = _events(reversed(rest[1]))
        if events:
            after, *_ = events.pop(0)
    return View(
        Access(owner.decode(), kind.decode(), share.decode() if share else ""),
        state.decode(),
        number,
        newest,
        title.decode(),
        None if model is None else model.decode(),
        [_queued(item) for item in queue],
        after,
        events,
        fold,
    )


def _events(entries: Any) -> list[Event]:
    return [Event(EventId.from_stream(entry.decode()), fields[0].decode(), fields[1]) for entry, fields in entries]


def _queued(item: bytes) -> Queued:
    key, _turn, mark, message = item.split(b"\n", 3)
    own = key.decode()
    return Queued(
        own.removeprefix(_CLIENT_KEY) if own.startswith(_CLIENT_KEY) else None,
        msgspec.json.decode(message)["text"],
        stopped=mark == b"stopped",
    )
