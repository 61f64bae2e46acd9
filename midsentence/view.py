"""A session at one moment, decoded from what the scripts reply. Pure.

What cannot be read of a reply is passed over (`unreadable`): no value in Redis makes a decoder fail.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from midsentence.errors import StoreUnavailableError
from midsentence.events import NO_DATA, UNREADABLE_TYPE, Event, Payload, Queued, Snapshot, State, is_sendable
from midsentence.fold import Fold
from midsentence.ids import EventId, is_of_event
from midsentence.unreadable import UNREADABLE, passed_over, read_number, read_text

Kind = Literal["chat", "push"]

# The fields that `head_of` decodes.
HEAD_FIELDS = ("owner", "kind", "share", "state", "turn", "last", "top", "title", "model")
# The prefix of a message's key in Redis if it is the client's Idempotency-Key.
CLIENT_KEY = "c:"

_CAPABILITY = re.compile(rb"[\w-]+")
# Each number of an event's stream id may have so many digits.
_SHORT_ID = 12
_STATES: dict[bytes | None, State] = {b"idle": "idle", b"queued": "queued", b"streaming": "streaming"}
_KINDS: dict[bytes | None, Kind] = {b"chat": "chat", b"push": "push"}
_TYPES = {payload.type.encode(): payload.type for payload in Payload.__subclasses__()}


class _Question(msgspec.Struct):
    text: str


_question = msgspec.json.Decoder(_Question).decode


class Access(NamedTuple):
    """Who may read a session: the owner, and every holder of the capability `share`, which is empty if not shared."""

    owner: str
    kind: Kind
    share: str


class View(NamedTuple):
    """A session at one moment.

    `top` is the id of the log's last event. `events` are those after `after`. `fold` is None where the cursor was
    honoured; `after` is the cursor then.
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


class Head(NamedTuple):
    """What differs wherever two views of a session differ, the messages in its queue apart.

    `top` is the id of the log's last event. `newest` is the number of the newest turn, those in the queue included.
    """

    access: Access
    state: State
    turn: int
    newest: int
    top: bytes
    title: str
    model: str | None


def view_of(session_id: str, reply: Any, cursor: EventId | None) -> View:
    """Decode the reply of lua/read.lua, which read the session from this cursor."""
    *before_top, top, title, model, queue, mode, content = reply[:11]
    rest = reply[11:]
    after = newest = _top(top, session_id)
    access, state, turn, name, model = _fields((*before_top, title, model), session_id, newest.turn)
    if mode == b"tail":
        assert cursor is not None  # noqa: S101 - a tail is only read from a cursor
        after, events, fold = cursor, _events(content, session_id), None
    else:
        stored = dict(zip(content[::2], content[1::2], strict=True))
        running = stored.pop(b"running", None)
        turns = _in_order(stored, session_id)
        fold = Fold(turns if running is None else [*turns, running], session_id)
        fold.apply_all(turn, _foldable(rest[0], session_id))
        events = _events(reversed(rest[1]), session_id)
        if events:
            after, *_ = events.pop(0)
            newest = events[-1].id if events else after
    queued = [waiting for item in queue if (waiting := _queued(item, session_id)) is not None]
    return View(access, state, turn, newest, name, model, queued, after, events, fold)


def head_of(session_id: str, reply: Any) -> Head | StoreUnavailableError | None:
    """Decode the `HEAD_FIELDS` of a session's hash.

    Returns None where there is no such session, and the error where Redis did not answer.
    """
    if isinstance(reply, StoreUnavailableError):
        return reply
    if isinstance(reply, Exception):
        # A RedisError is a defect of ours.
        raise reply
    *before_last, last, top, title, model = reply
    if reply[0] is None:
        return None
    access, state, turn, name, model = _fields((*before_last, title, model), session_id)
    try:
        newest = int(last)
    except (TypeError, ValueError):
        newest = read_number(last, session_id, "last", turn)
    return Head(access, state, turn, newest, top or b"", name, model)


# The fields of a session's hash that a view and a head share: access, state, turn, title, model. A plain tuple, since
# every reader that attaches costs one.
_Fields = tuple[Access, State, int, str, str | None]


def _fields(values: Sequence[Any], session_id: str, newest: int = 0) -> _Fields:
    """Decode owner, kind, share, state, turn, title and model. `newest` stands for a turn that cannot be read."""
    owner, kind, share, state, turn, title, model = values
    try:
        access = Access(owner.decode(), _KINDS[kind], share.decode() if share else "")
        return access, _STATES[state], int(turn), title.decode(), None if model is None else model.decode()
    except (KeyError, TypeError, AttributeError, *UNREADABLE):
        return (
            Access(
                read_text(owner, session_id, "owner"),
                # Only the answer to a /push can be read by its events' ids, so nothing else may be taken for one.
                _KINDS.get(kind, "chat"),
                _capability(share, session_id),
            ),
            state_of(state, session_id),
            read_number(turn, session_id, "turn", newest),
            read_text(title, session_id, "title"),
            None if model is None else read_text(model, session_id, "model"),
        )


def _capability(share: bytes | None, session_id: str) -> str:
    """The capability of a shared session; nobody has one that lua/share.lua did not give."""
    if share is None:
        return ""
    if _CAPABILITY.fullmatch(share) is None:
        passed_over(session_id, "share")
        return ""
    return share.decode()


def state_of(state: bytes | None, session_id: str) -> State:
    """The state in a session's hash."""
    known = _STATES.get(state)
    if known is None:
        passed_over(session_id, "state")
        return "idle"
    return known


def _top(top: bytes | None, session_id: str) -> EventId:
    try:
        return EventId.of(top or b"")
    except UNREADABLE:
        passed_over(session_id, "top")
        return EventId(0, 0, 0)


def _in_order(turns: dict[bytes, bytes], session_id: str) -> list[bytes]:
    """The stored turns by their numbers: a Redis hash has no order."""
    try:
        return [turns[number] for number in sorted(turns, key=int)]
    except ValueError:
        passed_over(session_id, "number of a stored turn")
        return [turns[number] for number in sorted(filter(bytes.isdigit, turns), key=lambda name: (len(name), name))]


def _events(entries: Any, session_id: str) -> list[Event]:
    events: list[Event] = []
    for entry, (kind, data, *_) in entries:
        if not is_of_event(entry):
            # Nothing that a worker wrote has such an id, so no number is missing.
            passed_over(session_id, "id of an event")
            continue
        if is_sendable(kind, data):
            event_type = _TYPES.get(kind) or kind.decode()
        else:
            passed_over(session_id, "type or data of an event")
            event_type, data = UNREADABLE_TYPE, NO_DATA  # noqa: PLW2901
        events.append(Event(EventId.from_stream(entry.decode()), event_type, data))
    return events


def _foldable(entries: Any, session_id: str) -> Iterator[tuple[str, bytes]]:
    """The events that a fold takes, as (type, data). There may be many, and their ids are not needed."""
    # Ids rise, so no other one has a longer number in front. The length alone tells of nearly all.
    if entries and len(entries[-1][0]) > _SHORT_ID and not is_of_event(entries[-1][0]):
        passed_over(session_id, "id of an event")
        entries = [entry for entry in entries if is_of_event(entry[0])]
    for _, fields in entries:
        if (event_type := _TYPES.get(fields[0])) is not None:
            yield event_type, fields[1]


def _queued(item: bytes, session_id: str) -> Queued | None:
    # `queue_item` in lua/session.lua.
    try:
        stored_key, _turn, mark, message = item.split(b"\n", 3)
        key = stored_key.decode()
        question = _question(message).text
    except UNREADABLE:
        passed_over(session_id, "waiting message")
        return None
    return Queued(
        key.removeprefix(CLIENT_KEY) if key.startswith(CLIENT_KEY) else None,
        question,
        stopped=mark == b"stopped",
    )
