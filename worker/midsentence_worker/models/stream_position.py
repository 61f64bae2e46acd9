"""How far a response was read, so that another connection, or another worker, can go on behind it."""

import re
from dataclasses import dataclass
from typing import Self

from midsentence_worker.models.base import CannotResumeError, Mark
from midsentence_worker.models.think_tags import ThinkTags

# The id stands in the path of requests and in the log.
_USABLE_ID = re.compile(r"(?!\.+\Z)[\x21-\x7e]{1,512}")


def usable_id(value: object) -> str:
    """The id of a response, or an empty string where it cannot be used to ask for the response again."""
    return value if isinstance(value, str) and _USABLE_ID.fullmatch(value) else ""


@dataclass
class StreamPosition:
    """How much of a response was yielded. Its mark is stored in the log, for the worker that takes the turn over.

    `number` is that of the last event whose text was yielded, and `characters` the length of all text until then.
    Where events have no numbers, or the text came whole, `number` is None: only the whole response can be resumed from.
    `tags` is the state of the tags around reasoning in the text, until they end.
    """

    response_id: str
    number: int | None
    characters: int = 0
    tags: str = ""

    @classmethod
    def of(cls, mark: str) -> Self:
        """Raises CannotResumeError for the mark of another kind of model."""
        try:
            response_id, number, rest = mark.rsplit(":", 2)
            characters, _, tags = rest.partition("t")
            ThinkTags.resumed(tags)
            return cls(response_id, int(number) if number else None, int(characters), tags)
        except (ValueError, IndexError):
            raise CannotResumeError("the mark is not one of a response") from None

    @property
    def mark(self) -> Mark:
        tags = f"t{self.tags}" if self.tags else ""
        return Mark(f"{self.response_id}:{'' if self.number is None else self.number}:{self.characters}{tags}")
