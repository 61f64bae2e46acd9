"""What a scenario is, and what it is given."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.contender import Contender
from bench.streaming import Stream, measure

_numbers = itertools.count(1)


class Outcome(NamedTuple):
    """`parameters` say what was asked for; `figures` are named with their units."""

    parameters: dict[str, float]
    figures: dict[str, float]


class Setting(NamedTuple):
    """`quick`: everything small, to see that it works. `seconds` is how long a window lasts."""

    directory: Path
    seconds: float
    quick: bool

    def fresh(self) -> Path:
        """Choose a directory for one measurement; not made yet."""
        return self.directory / str(next(_numbers))

    def many(self, number: int, quickly: int) -> int:
        return quickly if self.quick else number


class Scenario(NamedTuple):
    """`contenders` names those that can do it, or that it is about; None: all."""

    name: str
    run: Callable[[Contender, Setting], Iterator[Outcome]]
    contenders: Sequence[str] | None = None


def streamed(contender: Contender, setting: Setting, stream: Stream) -> Outcome:
    return Outcome(stream.parameters, measure(contender, stream, setting.fresh()))
