"""Which fault happens to what at which time: pure functions of the seed."""

import random
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from tools.provider.faults import Outage, Spoiling, StreamFault

Victim = Literal["server", "worker", "valkey", "provider"]
ProcessAction = Literal["kill -9", "kill -9, tail lost", "SIGTERM", "pause", "long pause"]
Action = ProcessAction | Outage

# Short enough that faults overlap: a worker dies while a server is paused and Valkey loads its file.
MEAN_GAP_SECONDS = 1.5
# Longer than the lease and than a reader's stall time-out, or well below both.
PAUSES: dict[Action, tuple[float, float]] = {"pause": (0.2, 1.2), "long pause": (2.6, 5.0)}
# How long a process stays down, and a provider.
ABSENCE_SECONDS = (0.0, 1.5)
OUTAGE_SECONDS = (0.5, 5.0)
WEIGHTS: dict[tuple[Victim, Action], int] = {
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
    ("provider", "refuses"): 5,
    ("provider", "is silent"): 2,
    ("provider", "500"): 2,
    ("provider", "503"): 2,
    ("provider", "503 Retry-After"): 2,
    ("provider", "429"): 2,
    ("provider", "429 Retry-After"): 2,
}
# A power cut or a failover: Valkey restarts without its last writes. That may exceed what appendfsync everysec
# guarantees, so it happens only with --tails.
TAIL_WEIGHTS: dict[tuple[Victim, Action], int] = {**WEIGHTS, ("valkey", "kill -9, tail lost"): 8}

# The part of all streams that is spoilt, and how.
SPOILT_STREAMS = 0.25
REATTACHED_WEIGHTS: Mapping[Spoiling, int] = {"cut": 6, "reset": 6, "stall": 2, "slow bytes": 5}
CHAT_WEIGHTS: Mapping[Spoiling, int] = {
    **REATTACHED_WEIGHTS,
    "error of OpenAI": 2,
    "error of vLLM": 2,
    "error overloaded": 2,
}
RESPONSE_WEIGHTS: Mapping[Spoiling, int] = {**REATTACHED_WEIGHTS, "response failed": 4}
# Behind the first token of a completion of eight tokens. A model that is silent before it is not asked again.
EARLIEST_STALL = 0.25


class Fault(NamedTuple):
    at: float  # seconds from the beginning
    victim: Victim
    action: Action
    number: int  # of the victim among its kind
    seconds: float  # of the pause, the absence or the outage


def schedule(
    seed: int, seconds: float, *, servers: int, workers: int, providers: int, tails: bool = False
) -> list[Fault]:
    chance = random.Random(f"schedule {seed}")
    counts: dict[Victim, int] = {"server": servers, "worker": workers, "valkey": 1, "provider": providers}
    faults: list[Fault] = []
    weights = TAIL_WEIGHTS if tails else WEIGHTS
    at = 1.0
    while (at := at + chance.uniform(0.2, 2 * MEAN_GAP_SECONDS - 0.2)) < seconds:
        (victim, action) = chance.choices(list(weights), list(weights.values()))[0]
        shortest, longest = PAUSES.get(action, OUTAGE_SECONDS if action in get_args(Outage) else ABSENCE_SECONDS)
        faults.append(
            Fault(at, victim, action, chance.randrange(counts[victim]), round(chance.uniform(shortest, longest), 2))
        )
    return faults


def stream_fault(seed: int, question: str, number: int, weights: Mapping[Spoiling, int]) -> StreamFault | None:
    """How the stream of this number, among those of a question, is spoilt."""
    chance = random.Random(f"stream {seed} {question} {number}")
    if chance.random() >= SPOILT_STREAMS:
        return None
    spoiling = chance.choices(list(weights), list(weights.values()))[0]
    return StreamFault(spoiling, chance.uniform(EARLIEST_STALL if spoiling == "stall" else 0, 1))
