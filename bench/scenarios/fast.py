"""Models that write 100 tokens a second: midsentence with its default flush, which batches tokens, and without."""

from collections.abc import Iterator

from bench.contender import Contender
from bench.contenders.midsentence import Midsentence
from bench.scenario import Outcome, Scenario, Setting, streamed
from bench.streaming import Stream
from midsentence.settings import Settings

_DEFAULT_FLUSH_MS: float = Settings.model_fields["flush_ms"].default


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    sessions = setting.many(100, 5)
    # Only midsentence has such a setting.
    for flush_ms in (_DEFAULT_FLUSH_MS, 0) if isinstance(contender, Midsentence) else (0,):
        yield streamed(contender, setting, Stream(sessions, 1, 100, setting.seconds, flush_ms))


SCENARIO = Scenario("fast", run)
