"""What a run found out, one JSON line for each measurement."""

from collections.abc import Iterator
from pathlib import Path

import msgspec


class Measurement(msgspec.Struct, frozen=True):
    """One contender in one scenario, once.

    `parameters` say what was asked for, `figures` what came of it; the name of a figure carries its unit. Every
    `*_us_per_token` is CPU time per token that a reader was given, also where ten readers are given each.
    """

    scenario: str
    contender: str
    round: int
    parameters: dict[str, float | bool]
    figures: dict[str, float]

    def __str__(self) -> str:
        told = " ".join(f"{name}={value:g}" for name, value in self.parameters.items())
        found = " ".join(f"{name}={value:.4g}" for name, value in self.figures.items())
        return f"{self.round} {self.scenario:8} {self.contender:17} {told} | {found}"


_decoder = msgspec.json.Decoder(Measurement)


def append(path: Path, measurement: Measurement) -> None:
    """Each is on the disk before the next is made: a run that is broken off keeps what it has."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(measurement) + b"\n")


def read(path: Path) -> Iterator[Measurement]:
    """Raises msgspec.ValidationError for a line that is no measurement."""
    for line in path.read_bytes().splitlines():
        yield _decoder.decode(line)
