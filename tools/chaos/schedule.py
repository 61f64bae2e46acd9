"""What is done to whom and when: a pure function of the seed."""

import random
from typing import Literal, NamedTuple

Kind = Literal["server", "worker", "valkey"]
Deed = Literal["kill -9", "kill -9, tail lost", "SIGTERM", "pause", "long pause"]

# Often enough that faults overlap: a worker dies while a server is paused and Valkey loads its file.
MEAN_GAP_SECONDS = 1.7
# Beyond the lease and beyond what a reader takes for a dead stream, or well below both.
PAUSES: dict[Deed, tuple[float, float]] = {"pause": (0.2, 1.2), "long pause": (2.6, 5.0)}
# How long a process that died stays away.
ABSENCE_SECONDS = (0.0, 1.5)
WEIGHTS: dict[tuple[Kind, Deed], int] = {
    ("worker", "kill -9"): 28,
    ("server", "kill -9"): 22,
    ("valkey", "kill -9"): 8,
    ("worker", "SIGTERM"): 11,
    ("server", "SIGTERM"): 11,
    ("worker", "pause"): 4,
    ("worker", "long pause"): 6,
    ("server", "pause"): 3,
    ("server", "long pause"): 3,
    ("valkey", "pause"): 3,
    ("valkey", "long pause"): 1,
}
# A power cut, or a failover: Valkey comes back without the last that it accepted. Beyond what appendfsync everysec
# promises, so it happens only where it is asked for.
TAIL_WEIGHTS: dict[tuple[Kind, Deed], int] = {**WEIGHTS, ("valkey", "kill -9, tail lost"): 8}


class Fault(NamedTuple):
    at: float  # seconds from the beginning
    kind: Kind
    deed: Deed
    number: int  # of its kind
    seconds: float  # of the pause or the absence


def schedule(seed: int, seconds: float, *, servers: int, workers: int, tails: bool = False) -> list[Fault]:
    chance = random.Random(f"schedule {seed}")
    how_many: dict[Kind, int] = {"server": servers, "worker": workers, "valkey": 1}
    faults: list[Fault] = []
    weights = TAIL_WEIGHTS if tails else WEIGHTS
    at = 1.0
    while (at := at + chance.uniform(0.2, 2 * MEAN_GAP_SECONDS - 0.2)) < seconds:
        (kind, deed) = chance.choices(list(weights), list(weights.values()))[0]
        shortest, longest = PAUSES.get(deed, ABSENCE_SECONDS)
        faults.append(
            Fault(at, kind, deed, chance.randrange(how_many[kind]), round(chance.uniform(shortest, longest), 2))
        )
    return faults
