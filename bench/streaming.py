"""Tokens streamed for a while: what each delivered one cost whom, and how long it took."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import cpu
from bench.audience import Audience
from bench.child import BenchError, Talking
from bench.contender import Contender, Load

_AFTER_SECONDS = 0.5


@dataclass(frozen=True)
class Stream:
    """`readers` read each session; `seconds` are measured, after as many as the warm-up has."""

    sessions: int
    readers: int
    rate: float
    seconds: float
    flush_ms: float = 0
    servers: int = 1
    warm_up: float = 1.5

    @property
    def parameters(self) -> dict[str, float]:
        return {
            "sessions": self.sessions,
            "readers": self.readers,
            "rate": self.rate,
            "flush_ms": self.flush_ms,
            "servers": self.servers,
        }


def measure(contender: Contender, stream: Stream, directory: Path) -> dict[str, float]:
    """Figures of one window: CPU per delivered token, delays; and over all: what is missing or came twice."""
    seconds = stream.warm_up + stream.seconds + _AFTER_SECONDS
    load = Load(stream.sessions, stream.rate, seconds, stream.flush_ms)
    with (
        contender.running(directory, stream.servers),
        contender.producer(load) as producer,
        Audience(directory, contender.folding) as audience,
    ):
        names: list[str] = producer.hear()["sessions"]
        refused = connect(contender, audience, names, stream.readers)
        producer.tell("go")
        time.sleep(stream.warm_up)
        figures = _window(contender, producer, audience, stream.seconds)
        told = producer.hear(seconds + 30)
        if told["sent"] != load.total:
            raise BenchError(f"{contender.name}'s producer sent {told['sent']} of {load.total} tokens")
        counted = audience.settle(tokens_of(names, load))
    if "driver_ns" in told:
        # What a producer spends on knowing what is due is the benchmark's own.
        driver = figures["append_us_per_token"] * told["driver_ns"] / told["cpu_ns"]
        figures["driver_us_per_token"] = driver
        figures["append_us_per_token"] -= driver
    kept = {name: float(counted[name]) for name in ("missing", "duplicates", "lost")}
    return {**figures, **kept, "refused": float(refused)}


def connect(contender: Contender, audience: Audience, names: Sequence[str], readers: int) -> int:
    """Open so many readers of each session, and tell how many could not be."""
    targets = [contender.target(name, number) for number in range(readers) for name in names]
    return audience.open(targets)["refused"]


def tokens_of(names: Sequence[str], load: Load) -> dict[str, int]:
    """How many tokens each session has: the first ones get what cannot be shared evenly."""
    each, more = divmod(load.total, load.sessions)
    return {name: each + (number < more) for number, name in enumerate(names)}


def _window(contender: Contender, producer: Talking, audience: Audience, seconds: float) -> dict[str, float]:
    measured = {"server": contender.server_pids, "redis": contender.redis_pids, "append": [producer.pid]}
    # Said too, since readers that fall behind would be taken for a relay that does.
    measured["readers"] = [audience.pid]
    audience.begin()
    before = {name: cpu.spent_ns(pids) for name, pids in measured.items()}
    begun = time.monotonic()
    time.sleep(seconds)
    after = {name: cpu.spent_ns(pids) for name, pids in measured.items()}
    elapsed = time.monotonic() - begun
    window = audience.end()
    delivered = window["delivered"]
    if not delivered:
        raise BenchError(f"{contender.name}: no reader was given anything")
    figures = {
        f"{name}_us_per_token": (after[name] - before[name]) / 1000 / delivered
        for name, pids in measured.items()
        if pids
    }
    busy = {name: (after[name] - before[name]) / 1e9 / elapsed for name in measured}
    figures |= {name: float(value) for name, value in window.items()}
    # Near one, the rest falls behind and tokens travel together that were sent apart: reads_per_token tells.
    return {**figures, "server_busy": busy.pop("server"), "rest_busy": sum(busy.values())}
