"""One server process, then two on the same CPU: what the second adds to the cost of a token."""

from collections.abc import Iterator

from bench.contender import Contender
from bench.scenario import Outcome, Scenario, Setting, streamed
from bench.streaming import Stream


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    sessions = setting.many(200, 10)
    for servers in (1, 2):
        yield streamed(contender, setting, Stream(sessions, 1, 50, setting.seconds, servers=servers))


SCENARIO = Scenario("two", run, ("midsentence",))
