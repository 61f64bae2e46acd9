"""The seam between a turn and whatever writes its answer."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Takeover = Literal["reattach", "continue", "restart", "fail"]


class Message(NamedTuple):
    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int
    output_tokens: int
    source: Literal["reported", "estimated"]


@dataclass(frozen=True, slots=True)
class Finish:
    """Always the last piece, and exactly one. `usage` is None where the provider reported none."""

    reason: Literal["stop", "length", "content_filter"]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the provider's own stream stands: given back to `stream`, it goes on behind everything that came before."""

    value: str


Piece = Text | Reasoning | Mark | Finish


class CannotResumeError(Exception):
    """The provider would not go on with an answer that was begun. Raised before any piece: begin anew."""


class Model(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def takeover(self) -> Takeover:
        """The best that this provider can do with an answer whose worker died."""
        ...

    def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        """Ask, and yield the answer as it is written; no `Text` or `Reasoning` is empty.

        Closing the generator, or cancelling the task that waits in it, ends the upstream call at once: nobody pays for
        text that nobody keeps. A generator that is merely dropped is closed when it is collected, so hold it with
        `contextlib.aclosing`.

        Raises ModelError, and then there is no `Finish`. What was yielded before it stands.
        """
        ...

    async def cancel(self, mark: str) -> None:
        """Stop paying for the answer that a mark names. Raises ModelError."""
        ...

    async def aclose(self) -> None:
        """Release idle connections. No stream may be running."""
        ...
