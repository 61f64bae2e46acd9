"""The type of a scenario, its parameters and its outcome."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.contender import Contender
from bench.streaming import Stream, measure

_numbers = itertools.count(1)


class Outcome(NamedTuple):
    """`parameters` describe the load; the names of `figures` carry their units."""

    parameters: dict[str, float]
    figures: dict[str, float]


class Setting(NamedTuple):
    """`quick` selects small sizes, to check that everything works. `seconds` is the length of a window."""

    directory: Path
    seconds: float
    quick: bool

    def fresh(self) -> Path:
        """The path of a new directory for one measurement, not created yet."""
        return self.directory / str(next(_numbers))

    def many(self, number: int, quickly: int) -> int:
        return quickly if self.quick else number


class Scenario(NamedTuple):
    """`contenders` names those that the scenario is for; None means all."""

    name: str
    run: Callable[[Contender, Setting], Iterator[Outcome]]
    contenders: Sequence[str] | None = None

    def is_for(self, contender: str) -> bool:
        return self.contenders is None or contender in self.contenders


def streamed(contender: Contender, setting: Setting, stream: Stream) -> Outcome:
    return Outcome(stream.parameters, measure(contender, stream, setting.fresh()))
