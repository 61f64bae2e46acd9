"""Thousands of readers are cut in the middle of their answers and reconnect at once, each with its cursor."""

import time
from collections.abc import Iterator

from bench import cpu
from bench.audience import Audience
from bench.contender import Contender, Load
from bench.contenders.midsentence import Midsentence
from bench.scenario import Outcome, Scenario, Setting
from bench.streaming import token_counts

_READERS = 10
_RATE = 1.0
_BEFORE_SECONDS = 2.5
_AWAY_SECONDS = 1.5
_AFTER_SECONDS = 4.0
_LIMIT_SECONDS = 30


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    # If a reader of a session stays, the others are answered from memory, otherwise from the log.
    for staying in (0, 1) if isinstance(contender, Midsentence) else (0,):
        yield _cut(contender, setting, setting.many(500, 10), staying)


def _cut(contender: Contender, setting: Setting, sessions: int, staying: int) -> Outcome:
    load = Load(sessions, _RATE, _BEFORE_SECONDS + _AWAY_SECONDS + _AFTER_SECONDS)
    directory = setting.fresh()
    with (
        contender.running(directory),
        contender.producer(load) as producer,
        Audience(directory, contender.folding) as audience,
    ):
        names: list[str] = producer.receive()["sessions"]
        targets = [contender.target(name, number) for number in range(_READERS + staying) for name in names]
        audience.open(targets, keep=True)
        producer.send("go")
        time.sleep(_BEFORE_SECONDS)
        cut = audience.cut(staying)
        time.sleep(_AWAY_SECONDS)
        figures = _return(contender, audience, cut)
        producer.receive(_AFTER_SECONDS + 60)
        audience.finish(token_counts(names, load), limit=_LIMIT_SECONDS)
        texts = audience.texts(load.tokens)
    figures |= {"exact": float(texts["exact"]), "wrong": float(texts["wrong"])}
    return Outcome({"sessions": sessions, "readers": _READERS, "rate": _RATE, "staying": staying}, figures)


def _return(contender: Contender, audience: Audience, cut: int) -> dict[str, float]:
    server, redis = cpu.spent_ns(contender.server_pids), cpu.spent_ns(contender.redis_pids)
    back = audience.reconnect(_LIMIT_SECONDS)
    figures = {
        "cut": float(cut),
        "back": float(back["back"]),
        "storm_us_per_connect": (cpu.spent_ns(contender.server_pids) - server) / 1000 / cut,
        "storm_p50_s": back["p50_s"],
        "storm_p99_s": back["p99_s"],
        "storm_max_s": back["max_s"],
    }
    if contender.uses_redis:
        figures["storm_redis_us_per_connect"] = (cpu.spent_ns(contender.redis_pids) - redis) / 1000 / cut
    return figures


SCENARIO = Scenario("storm", run)
