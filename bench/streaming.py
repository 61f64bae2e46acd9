"""Stream tokens for a while: the CPU cost of each delivered token, by process, and its latency."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import cpu
from bench.audience import Audience
from bench.child import BenchError, LineProcess
from bench.contender import Contender, Load

_AFTER_SECONDS = 0.5


@dataclass(frozen=True)
class Stream:
    """`readers` read each session. The window of `seconds` follows the warm-up."""

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
    """CPU per delivered token and latencies of one window, and the errors since the start."""
    seconds = stream.warm_up + stream.seconds + _AFTER_SECONDS
    load = Load(stream.sessions, stream.rate, seconds, stream.flush_ms)
    with (
        contender.running(directory, stream.servers),
        contender.producer(load) as producer,
        Audience(directory, contender.folding) as audience,
    ):
        names: list[str] = producer.receive()["sessions"]
        refused = connect(contender, audience, names, stream.readers)
        producer.send("go")
        time.sleep(stream.warm_up)
        figures = _window(contender, producer, audience, stream.seconds)
        report = producer.receive(seconds + 30)
        if report["sent"] != load.total:
            raise BenchError(f"{contender.name}'s producer sent {report['sent']} of {load.total} tokens")
        counted = audience.finish(token_counts(names, load))
    if "driver_ns" in report:
        # The time that a producer needs to find the tokens that are due is the benchmark's own.
        driver = figures["append_us_per_token"] * report["driver_ns"] / report["cpu_ns"]
        figures["driver_us_per_token"] = driver
        figures["append_us_per_token"] -= driver
    kept = {name: float(counted[name]) for name in ("missing", "duplicates", "lost")}
    return {**figures, **kept, "refused": float(refused)}


def connect(contender: Contender, audience: Audience, names: Sequence[str], readers: int) -> int:
    """Open `readers` connections to each session; returns how many were refused."""
    targets = [contender.target(name, number) for number in range(readers) for name in names]
    return audience.open(targets)["refused"]


def token_counts(names: Sequence[str], load: Load) -> dict[str, int]:
    """The number of tokens of each session; the first ones have one more if they do not divide evenly."""
    each, more = divmod(load.total, load.sessions)
    return {name: each + (number < more) for number, name in enumerate(names)}


def _window(contender: Contender, producer: LineProcess, audience: Audience, seconds: float) -> dict[str, float]:
    # The readers are reported too: readers that are late would otherwise look like a relay that is.
    pids = {
        "server": contender.server_pids,
        "redis": contender.redis_pids,
        "append": [producer.pid],
        "readers": [audience.pid],
    }
    figures, busy = window(audience, pids, seconds)
    if not figures["delivered"]:
        raise BenchError(f"{contender.name}: no reader received a token")
    # Near 1, the other processes are late, and tokens that were sent apart arrive together: see reads_per_token.
    return {**figures, "server_busy": busy.pop("server"), "rest_busy": sum(busy.values())}


def window(
    audience: Audience, pids: Mapping[str, Sequence[int]], seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """What readers receive within `seconds`, with the CPU of each process per token; and each one's share of a core.

    `pids` has the processes by name; one without any is left out. Without a token there is no cost of one.
    """
    measured = {name: numbers for name, numbers in pids.items() if numbers}
    audience.begin()
    before = {name: cpu.spent_ns(numbers) for name, numbers in measured.items()}
    begun = time.monotonic()
    time.sleep(seconds)
    spent = {name: cpu.spent_ns(numbers) - before[name] for name, numbers in measured.items()}
    elapsed = time.monotonic() - begun
    received = audience.end()
    delivered = received["delivered"]
    figures = {f"{name}_us_per_token": ns / 1000 / delivered for name, ns in spent.items() if delivered}
    figures |= {name: float(value) for name, value in received.items()}
    return figures, {name: ns / 1e9 / elapsed for name, ns in spent.items()}
