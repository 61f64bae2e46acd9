"""One reader for each session, and each token sent alone."""

from collections.abc import Iterator

from bench.contender import Contender
from bench.scenario import Outcome, Scenario, Setting, streamed
from bench.streaming import Stream


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    sessions = setting.many(200, 10)
    yield streamed(contender, setting, Stream(sessions, readers=1, rate=50, seconds=setting.seconds))


SCENARIO = Scenario("relay", run)
