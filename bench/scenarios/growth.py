"""The same tokens a second over more and more sessions: the cost of a token must not grow with them."""

from collections.abc import Iterator

from bench.contender import Contender
from bench.scenario import Outcome, Scenario, Setting, streamed
from bench.streaming import Stream

_TOKENS_A_SECOND = 5000


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    for sessions in (10, 50) if setting.quick else (100, 1_000, 10_000):
        rate = (500 if setting.quick else _TOKENS_A_SECOND) / sessions
        yield streamed(contender, setting, Stream(sessions, 1, rate, setting.seconds))


# One CPU is not enough for the other two at the last size.
SCENARIO = Scenario("growth", run, ("midsentence", "nchan"))
