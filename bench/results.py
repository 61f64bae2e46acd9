"""The results of a run, one JSON line for each measurement."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec


class Measurement(msgspec.Struct, frozen=True):
    """One contender in one scenario, once.

    `parameters` describe the load, and the name of a figure carries its unit. Every `*_us_per_token` is CPU time per
    token and reader that received it.
    """

    scenario: str
    contender: str
    round: int
    parameters: dict[str, float | bool]
    figures: dict[str, float]

    def __str__(self) -> str:
        given = " ".join(f"{name}={value:g}" for name, value in self.parameters.items())
        found = " ".join(f"{name}={value:.4g}" for name, value in self.figures.items())
        return f"{self.round} {self.scenario:8} {self.contender:17} {given} | {found}"


_decoder = msgspec.json.Decoder(Measurement)


def append(path: Path, measurement: Measurement) -> None:
    """Write the line at once, so that a run that is interrupted keeps its results."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(measurement) + b"\n")


def read(path: Path) -> Iterator[Measurement]:
    """Raises msgspec.ValidationError for a line that is no measurement."""
    for line in path.read_bytes().splitlines():
        yield _decoder.decode(line)


def write(path: Path, measurements: Iterable[Measurement]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(measurement) + b"\n" for measurement in measurements))


def merged(kept: Iterable[Measurement], new: Sequence[Measurement], order: Sequence[str]) -> list[Measurement]:
    """The kept measurements and the new ones, which replace all of their scenarios; scenarios stand in `order`."""
    replaced = {measurement.scenario for measurement in new}
    both = [*(measurement for measurement in kept if measurement.scenario not in replaced), *new]
    return sorted(both, key=lambda measurement: order.index(measurement.scenario))
