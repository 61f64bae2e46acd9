"""Where a response's stream stands: what a worker writes beside the text, for whoever takes its turn over."""

from dataclasses import dataclass
from typing import Self

from midsentence_worker.models.base import CannotResumeError, Mark


@dataclass
class Place:
    """`number` is that of the last event which was relayed, and `characters` how much text was relayed until then.

    Where no event can be named, `number` is None and the rest of the text is taken from the whole response.
    """

    response_id: str
    number: int | None
    characters: int = 0

    @classmethod
    def of(cls, mark: str) -> Self:
        """Raises CannotResumeError for a mark that another kind of model made."""
        try:
            response_id, number, characters = mark.rsplit(":", 2)
            return cls(response_id, int(number) if number else None, int(characters))
        except ValueError:
            raise CannotResumeError("the mark is not one of a response") from None

    @property
    def mark(self) -> Mark:
        return Mark(f"{self.response_id}:{'' if self.number is None else self.number}:{self.characters}")
