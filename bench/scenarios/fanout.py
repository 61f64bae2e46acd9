"""Ten readers for each session: other tabs, other devices, shared sessions."""

from collections.abc import Iterator

from bench.contender import Contender
from bench.scenario import Outcome, Scenario, Setting, streamed
from bench.streaming import Stream


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    sessions = setting.many(20, 3)
    yield streamed(contender, setting, Stream(sessions, readers=10, rate=50, seconds=setting.seconds))


SCENARIO = Scenario("fanout", run)
