"""Which fault happens to which process at what time: a pure function of the seed."""

import random
from typing import Literal, NamedTuple

ProcessKind = Literal["server", "worker", "valkey"]
Action = Literal["kill -9", "kill -9, tail lost", "SIGTERM", "pause", "long pause"]

# Short enough that faults overlap: a worker dies while a server is paused and Valkey loads its file.
MEAN_GAP_SECONDS = 1.7
# Longer than the lease and than a reader's stall time-out, or well below both.
PAUSES: dict[Action, tuple[float, float]] = {"pause": (0.2, 1.2), "long pause": (2.6, 5.0)}
# How long a process stays down.
ABSENCE_SECONDS = (0.0, 1.5)
WEIGHTS: dict[tuple[ProcessKind, Action], int] = {
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
# A power cut or a failover: Valkey restarts without its last writes. That may exceed what appendfsync everysec
# guarantees, so it happens only with --tails.
TAIL_WEIGHTS: dict[tuple[ProcessKind, Action], int] = {**WEIGHTS, ("valkey", "kill -9, tail lost"): 8}


class Fault(NamedTuple):
    at: float  # seconds from the beginning
    kind: ProcessKind
    action: Action
    number: int  # of the process among its kind
    seconds: float  # of the pause or the absence


def schedule(seed: int, seconds: float, *, servers: int, workers: int, tails: bool = False) -> list[Fault]:
    chance = random.Random(f"schedule {seed}")
    counts: dict[ProcessKind, int] = {"server": servers, "worker": workers, "valkey": 1}
    faults: list[Fault] = []
    weights = TAIL_WEIGHTS if tails else WEIGHTS
    at = 1.0
    while (at := at + chance.uniform(0.2, 2 * MEAN_GAP_SECONDS - 0.2)) < seconds:
        (kind, action) = chance.choices(list(weights), list(weights.values()))[0]
        shortest, longest = PAUSES.get(action, ABSENCE_SECONDS)
        faults.append(
            Fault(at, kind, action, chance.randrange(counts[kind]), round(chance.uniform(shortest, longest), 2))
        )
    return faults
