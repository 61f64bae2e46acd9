"""Many connections to idle sessions: the cost of opening and of keeping each."""

import time
from collections.abc import Iterator, Sequence

from bench import cpu
from bench.audience import Audience, Target
from bench.contender import Contender, Load
from bench.contenders.midsentence import Midsentence
from bench.scenario import Outcome, Scenario, Setting

# A reader that is not connected by then is counted as refused.
_LIMIT_SECONDS = 25
_HELD_SECONDS = 2.0
_SHARING = ("midsentence", "nchan")
# The first connections pay for imports, caches and pools. They stay open, or the others would reuse their memory.
_WARM_UP_SHARE = 75
_WARM_UP_SECONDS = 0.5


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    connections = setting.many(15_000, 100)
    # Each reader with a session of its own, then the same number of readers on a few sessions. For the other two the
    # second costs as much as the first: they do for each reader what these do for each session.
    for sessions in (connections, max(1, connections // 150))[: 2 if contender.name in _SHARING else 1]:
        yield _held(contender, setting, connections, sessions)


def _held(contender: Contender, setting: Setting, connections: int, sessions: int) -> Outcome:
    # A session is idle after its answer has ended, for a contender that has ends. For the others, no token is sent.
    knows_ends = isinstance(contender, Midsentence)
    load = Load(sessions, rate=1, seconds=0 if knows_ends else 1, end=knows_ends)
    directory = setting.fresh()
    with (
        contender.running(directory),
        contender.producer(load) as producer,
        Audience(directory, contender.folding) as audience,
    ):
        names: list[str] = producer.receive(120)["sessions"]
        if knows_ends:
            producer.send("go")
            producer.receive(120)
        targets = [contender.target(names[number % sessions], number) for number in range(connections)]
        warming = connections // _WARM_UP_SHARE
        audience.open(targets[:warming])
        time.sleep(_WARM_UP_SECONDS)
        figures = _connected(contender, audience, targets[warming:])
        # A dropped connection would make the memory look smaller.
        figures["lost"] = figures["connected"] + warming - audience.held()
    return Outcome({"connections": connections, "sessions": sessions}, figures)


def _connected(contender: Contender, audience: Audience, targets: Sequence[Target]) -> dict[str, float]:
    memory = cpu.resident_bytes(contender.server_pids)
    server, redis = cpu.spent_ns(contender.server_pids), cpu.spent_ns(contender.redis_pids)
    opened = audience.open(targets, limit=_LIMIT_SECONDS)
    time.sleep(_WARM_UP_SECONDS)
    connected = cpu.spent_ns(contender.server_pids)
    count = max(1, opened["opened"])
    figures = {
        "connected": float(opened["opened"]),
        "refused": float(opened["refused"]),
        "connect_us": (connected - server) / 1000 / count,
        "connect_p50_ms": opened["p50_ms"],
        "connect_p99_ms": opened["p99_ms"],
        "connect_seconds": opened["seconds"],
    }
    if contender.uses_redis:
        figures["connect_redis_us"] = (cpu.spent_ns(contender.redis_pids) - redis) / 1000 / count
    time.sleep(_HELD_SECONDS)
    held = cpu.spent_ns(contender.server_pids) - connected
    return {
        **figures,
        "bytes_per_connection": (cpu.resident_bytes(contender.server_pids) - memory) / count,
        "held_busy": held / 1e9 / _HELD_SECONDS,
    }


SCENARIO = Scenario("idle", run)
