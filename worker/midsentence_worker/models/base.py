"""The interface between a turn and the model that answers it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from midsentence.events import Delta, Reasoning, Usage
from midsentence.model_list import Takeover

__all__ = ["LONGEST_PAUSE_WITHOUT_TEXT", "CannotResumeError", "Finish", "Mark", "Message", "Model", "Piece", "Takeover"]

# The longest pause between two requests, in seconds, while the reader waits in front of an empty answer. Where a
# provider asks for a longer one, an error that says when to ask again serves the reader better.
LONGEST_PAUSE_WITHOUT_TEXT = 8.0


class Message(NamedTuple):
    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The last piece of every answer. `usage` is None where the provider reported none."""

    reason: Literal["stop", "length", "content_filter"]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in the provider's own stream, behind all pieces before it.

    `Model.stream`, given this value, continues with the pieces after it. An empty one means that the provider has ended
    the stream, so that there is nothing to continue.
    """

    value: str


Piece = Delta | Reasoning | Mark | Finish


class CannotResumeError(Exception):
    """The provider does not continue an answer that was begun. Raised before any piece: ask for a new answer."""


class Model(Protocol):
    @property
    def name(self) -> str:
        """Its name in the list of models, as clients know it."""
        ...

    @property
    def takeover(self) -> Takeover:
        """What is done with an answer that was begun and not ended: the model's setting, or the best for its API."""
        ...

    def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        """Ask for an answer, or continue one behind a `mark`, and yield its pieces as they are written.

        No `Delta` or `Reasoning` is empty. Closing the generator, or cancelling the task that waits in it, ends the
        upstream call at once, so that nobody pays for text that is not kept. Hold the generator with
        `contextlib.aclosing`: one that is only dropped is closed when it is collected.

        Raises CannotResumeError, and ModelError, after which there is no `Finish`. The pieces before it stay valid.
        """
        ...

    async def warm_up(self) -> None:
        """Load what the first stream would load while the event loop waits. Contacts nobody."""
        ...

    async def cancel(self, mark: str) -> None:
        """End the answer that a mark belongs to, so that it costs nothing more. Raises ModelError."""
        ...

    async def aclose(self) -> None:
        """Release idle connections. No stream may be running."""
        ...
