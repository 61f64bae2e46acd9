"""What a turn's attempts have come to so far. It is stored with the turn's mark, for the worker that takes it over."""

from collections.abc import Sequence
from typing import Self

import msgspec

from midsentence.events import AttemptUsage, Usage


class Waiting(msgspec.Struct, frozen=True):
    """An attempt that was made and had brought nothing yet: its model, and its position in the provider's stream."""

    model: str
    mark: str


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """`attempt` is the number of the newest attempt, and `model` the model whose text readers have.

    `spent` is what the attempts before that one cost, and `spent_in_vain` what empty answers after it cost. `before`
    and `reasoned` are the lengths of the text and of the reasoning that it continues. `retries` and `repeated` are the
    attempts and the tokens of `Limits` that are used up.
    """

    attempt: int = 0
    model: str = ""
    spent: tuple[AttemptUsage, ...] = ()
    spent_in_vain: tuple[AttemptUsage, ...] = ()
    before: int = 0
    reasoned: int = 0
    retries: int = 0
    repeated: int = 0
    waiting: Waiting | None = None

    @classmethod
    def of(cls, stored: str) -> tuple[Self, str]:
        """Read a stored mark: the progress, and the position in the provider's own stream.

        A mark without a progress is a position alone, and one that cannot be read says nothing.
        """
        head, separator, mark = stored.partition("\n")
        if not separator:
            return cls(), stored
        try:
            return msgspec.json.decode(head, type=cls), mark
        except (msgspec.DecodeError, UnicodeError):
            return cls(), ""

    def prefix(self) -> str:
        """What stands before a position in a stored mark."""
        return msgspec.json.encode(self).decode() + "\n"


def total(spent: Sequence[AttemptUsage]) -> Usage | None:
    """What all attempts cost together; None where no attempt cost anything."""
    if not spent:
        return None
    return Usage(
        sum(usage.input_tokens for usage in spent),
        sum(usage.output_tokens for usage in spent),
        "reported" if all(usage.source == "reported" for usage in spent) else "estimated",
        list(spent) if len(spent) > 1 else msgspec.UNSET,
    )
