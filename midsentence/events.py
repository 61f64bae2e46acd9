"""The events of a session: their types, their data and their encoding as Server-Sent Events.

All names come from `docs/protocol.md`, section "Reading".
"""

from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

import msgspec

from midsentence.ids import EventId

EndReason = Literal["stop", "length", "content_filter", "stopped", "error"]
State = Literal["idle", "queued", "streaming"]


class Payload(msgspec.Struct, frozen=True):
    """The data of one type of event."""

    type: ClassVar[str]

    def encoded(self) -> bytes:
        return _encoder.encode(self)


class Message(Payload, frozen=True):
    type = "message"
    role: Literal["user"]
    text: str
    turn: int
    parent: int
    # The model that the message asks for, where it names one.
    model: str | msgspec.UnsetType = msgspec.UNSET


class Start(Payload, frozen=True):
    type = "start"
    turn: int
    attempt: int
    model: str


class Delta(Payload, frozen=True):
    type = "delta"
    text: str


class Reasoning(Payload, frozen=True):
    type = "reasoning"
    text: str


class Tool(Payload, frozen=True):
    """A tool call or its result. In a folded conversation, one `Tool` has both."""

    type = "tool"
    id: str
    name: str
    arguments: str | msgspec.UnsetType = msgspec.UNSET
    result: str | msgspec.UnsetType = msgspec.UNSET

    def merged_with(self, later: "Tool") -> "Tool":
        """Add the fields of a later event of the same call."""
        return Tool(
            self.id,
            later.name,
            self.arguments if later.arguments is msgspec.UNSET else later.arguments,
            self.result if later.result is msgspec.UNSET else later.result,
        )


class Reset(Payload, frozen=True):
    type = "reset"
    attempt: int
    why: str


class AttemptUsage(msgspec.Struct, frozen=True):
    """The tokens that one attempt at a turn used."""

    model: str
    input_tokens: int
    output_tokens: int
    source: Literal["reported", "estimated"]


class Usage(msgspec.Struct, frozen=True):
    """The tokens that a turn used, over all of its attempts. `attempts` lists them where there were several."""

    input_tokens: int
    output_tokens: int
    source: Literal["reported", "estimated"]
    attempts: list[AttemptUsage] | msgspec.UnsetType = msgspec.UNSET


class Failure(msgspec.Struct, frozen=True):
    """Why a turn ended with an error. The protocol lists the codes."""

    code: str
    message: str
    retryable: bool


class End(Payload, frozen=True):
    type = "end"
    reason: EndReason
    usage: Usage | None = None
    error: Failure | None = None


class Entry(msgspec.Struct):
    """One message of a folded conversation."""

    turn: int
    parent: int
    role: Literal["user", "assistant"]
    text: str
    end: EndReason | None = None
    error: Failure | msgspec.UnsetType = msgspec.UNSET
    reasoning: str | msgspec.UnsetType = msgspec.UNSET
    tools: list[Tool] | msgspec.UnsetType = msgspec.UNSET
    # Of a user's message that named a model.
    model: str | msgspec.UnsetType = msgspec.UNSET


class Snapshot(Payload, frozen=True):
    type = "snapshot"
    session_id: str
    state: State
    messages: list[Entry]


class Queued(msgspec.Struct, frozen=True, omit_defaults=True):
    key: str | None
    text: str
    stopped: bool = False


class StateChange(Payload, frozen=True):
    type = "state"
    state: State
    turn: int
    queued: list[Queued]
    title: str
    model: str | None


class Event(NamedTuple):
    """One event as the log stores it. `data` is JSON and so has no raw line break.

    An event of the log that `encode` cannot send keeps its id, and has the type UNREADABLE_TYPE and no data.
    """

    id: EventId
    type: str
    data: bytes


UNREADABLE_TYPE = "unreadable"
NO_DATA = b"{}"

_encoder = msgspec.json.Encoder()


def encode(event_id: EventId | str | None, event_type: str, data: bytes) -> bytes:
    """Encode one event of an event stream (HTML standard, 9.2.5).

    `data` must be JSON on one line, so nothing needs escaping.
    """
    if event_id is None:
        return b"event: %b\ndata: %b\n\n" % (event_type.encode(), data)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(event_id).encode(), event_type.encode(), data)


def is_sendable(event_type: bytes, data: bytes) -> bool:
    """Whether `encode` makes one event of these: the type is a word, the data is one line of UTF-8."""
    if not event_type.replace(b"_", b"").isalnum() or b"\n" in data or b"\r" in data:
        return False
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def decode(frames: bytes) -> Iterator[Event]:
    """Decode what `encode` wrote with ids; anything else is passed over. This is no general parser of event streams."""
    for block in frames.split(b"\n\n")[:-1]:
        try:
            id_line, type_line, data_line = block.split(b"\n")
            event = Event(EventId.of(id_line[4:]), type_line[7:].decode(), data_line[6:])
        except ValueError:
            continue
        yield event


PING = encode(None, "ping", NO_DATA)
