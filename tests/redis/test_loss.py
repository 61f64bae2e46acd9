"""Messages that never arrive: found by the log, by the clock, and by a question that nobody answers."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.client import Visitor
from tests.support.processes import RedisChild, Stack
from tests.support.proxies import Proxy
from tests.support.readers import Reader, wait_for_events
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import wait_until

SEED = 12
LOSS = 0.01
# A connection is asked after 5 s of silence and given up after 5 more.
NOTICED_SECONDS = 11.0
# What is lost is found when the next message does not fit, or when the log of a streaming session is read again.
DELAY_SECONDS = 4.5


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisChild]:
    child = RedisChild(tmp_path / "redis")
    child.start()
    yield child
    child.stop()


def house(directory: Path, upstream: Upstream, redis_url: str) -> Stack:
    settings = {"MIDSENTENCE_SECRET": "a secret of the tests alone", "MIDSENTENCE_FLUSH_MS": "5"}
    return Stack(directory, upstream, settings=settings, redis_url=redis_url)


def test_a_subscription_whose_packets_are_dropped_is_made_again_in_time(
    tmp_path: Path, upstream: Upstream, redis: RedisChild
) -> None:
    """Nothing is lost, and new readers are served within the bound. Seen red without the PING in `Line`.

    Meanwhile the log is read by the clock, so that those who read already are late and not stuck.
    """
    question = "tokens=380 rate=30 seed=29"
    with Proxy(redis.port) as proxy:
        stack = house(tmp_path, upstream, proxy.url)
        try:
            stack.start()
            with Visitor(stack.base_url) as visitor:
                session_id = visitor.start(question)
                readers = [Reader(visitor, session_id) for _ in range(3)]
                wait_for_events(readers, 30)
                before = stack.pids
                begun = time.monotonic()
                assert proxy.freeze_subscriptions() == 2, "the server's and the worker's"
                wait_until(lambda: proxy.subscribed == 2, description="both subscribe anew", timeout=NOTICED_SECONDS)
                took = time.monotonic() - begun
                transcripts = [reader.finished() for reader in readers]
                assert stack.pids == before
                again = visitor.start("tokens=20 rate=200 seed=31")
                assert visitor.read(again).answer() == "".join(text_for("tokens=20 rate=200 seed=31"))
        finally:
            stack.stop()
    assert {transcript.answer() for transcript in transcripts} == {"".join(text_for(question))}
    assert [reader.connections for reader in readers] == [1, 1, 1]
    assert {transcript.snapshots for transcript in transcripts} == {1}
    assert took < NOTICED_SECONDS


def test_one_message_in_a_hundred_that_is_lost_costs_nobody_an_event(
    tmp_path: Path, upstream: Upstream, redis: RedisChild
) -> None:
    """All of the text, in order (which `Transcript` holds), and no gap longer than the bound.

    The next message finds the loss; only what has none after it waits for the clock. Seen red without the last branch
    of `Feed.published`: then everything does.
    """
    print(f"seed {SEED}")
    questions = [f"tokens=200 rate=60 seed={SEED + number}" for number in range(12)]
    with Proxy(redis.port, loss=LOSS, seed=SEED) as proxy:
        stack = house(tmp_path, upstream, proxy.url)
        try:
            stack.start()
            with Visitor(stack.base_url) as visitor:
                readers = [Reader(visitor, visitor.start(question)) for question in questions]
                transcripts = [reader.finished() for reader in readers]
        finally:
            stack.stop()
    print(f"{proxy.lost} of {proxy.lost + proxy.delivered} messages were lost")
    assert proxy.lost > 5, "too few were lost to prove anything"
    for question, reader, transcript in zip(questions, readers, transcripts, strict=True):
        assert transcript.answer() == "".join(text_for(question))
        assert (reader.connections, transcript.snapshots) == (1, 1)
    gaps = [gap for reader in readers for gap in reader.gaps]
    assert max(gaps) < DELAY_SECONDS
    assert sum(gap > 1 for gap in gaps) <= proxy.lost / 4
