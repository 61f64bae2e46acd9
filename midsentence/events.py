"""The events of a session: their types, their data, and the one encoder of the wire.

`docs/protocol.md`, section 8, is the source of every name here.
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
    """A call of a tool, or what came of it; and both of one id, in a folded conversation."""

    type = "tool"
    id: str
    name: str
    arguments: str | msgspec.UnsetType = msgspec.UNSET
    result: str | msgspec.UnsetType = msgspec.UNSET

    def and_then(self, later: "Tool") -> "Tool":
        """Add what a later event says of the same call."""
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


class Usage(msgspec.Struct, frozen=True):
    """What a turn cost, in tokens."""

    input_tokens: int
    output_tokens: int
    source: Literal["reported", "estimated"]


class Failure(msgspec.Struct, frozen=True):
    """Why a turn ended with an error; the codes are listed in the protocol."""

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
    """One entry of the log as it is stored: `data` is JSON and so holds no raw line break."""

    id: EventId
    type: str
    data: bytes


_encoder = msgspec.json.Encoder()


def encode(event_id: EventId | str | None, event_type: str, data: bytes) -> bytes:
    """One event on the wire (HTML standard, 9.2.5).

    `data` must be JSON on one line, which is why nothing here is escaped.
    """
    if event_id is None:
        return b"event: %b\ndata: %b\n\n" % (event_type.encode(), data)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(event_id).encode(), event_type.encode(), data)


def decode(wire: bytes) -> Iterator[Event]:
    """The events of what `encode` wrote with ids; not a parser of event streams at large."""
    for block in wire.split(b"\n\n")[:-1]:
        id_line, type_line, data_line = block.split(b"\n")
        yield Event(EventId.of(id_line[4:]), type_line[7:].decode(), data_line[6:])


PING = encode(None, "ping", b"{}")
