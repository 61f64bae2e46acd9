"""What a turn reads from the folded conversation: the messages that lead to it, and its answer so far. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from midsentence.events import Entry
from midsentence_worker.models.base import Message


class PartialAnswer(NamedTuple):
    """What earlier attempts of a turn wrote."""

    text: str
    reasoning: str


def partial_answer(entries: Sequence[Entry], turn: int) -> PartialAnswer:
    for entry in entries:
        if entry.turn == turn and entry.role == "assistant":
            return PartialAnswer(entry.text, "" if entry.reasoning is msgspec.UNSET else entry.reasoning)
    return PartialAnswer("", "")


def conversation(entries: Sequence[Entry], turn: int) -> list[Message]:
    """The branch from the first message to this turn's own message, which is the last; no partial answer to it."""
    parents = {entry.turn: entry.parent for entry in entries}
    path: set[int] = set()
    step = turn
    while step and step not in path:
        path.add(step)
        step = parents.get(step, 0)
    return [
        Message(entry.role, entry.text)
        for entry in entries
        if entry.turn in path and (entry.turn != turn or entry.role == "user")
    ]
