"""Lost announcements: found by the next one, by polling, or by a PING that gets no reply."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.client import Transcript, Visitor
from tests.support.processes import RedisChild, Stack
from tests.support.readers import Reader, wait_for_text
from tests.support.redis_proxy import RedisProxy
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import wait_until

SEED = 12
LOSS = 0.01
# Fewer losses would prove nothing.
ENOUGH_LOST = 5
# A silent connection gets a PING after 5 s and is dropped after 5 more without a reply.
NOTICED_SECONDS = 11.0
# A loss is found by the next announcement, which does not follow the last, or by the next poll of the log.
DELAY_SECONDS = 4.5


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisChild]:
    child = RedisChild(tmp_path / "redis")
    child.start()
    yield child
    child.stop()


def stack_on(directory: Path, upstream: Upstream, redis_url: str) -> Stack:
    settings = {"MIDSENTENCE_SECRET": "a secret of the tests alone", "MIDSENTENCE_FLUSH_MS": "5"}
    return Stack(directory, upstream, settings=settings, redis_url=redis_url)


def test_a_frozen_subscription_is_replaced_in_time(tmp_path: Path, upstream: Upstream, redis: RedisChild) -> None:
    """New readers are served within the bound, and no event is lost.

    Meanwhile the server polls the log, so the other readers are late and not stuck.
    """
    question = "tokens=380 rate=30 seed=29"
    with RedisProxy(redis.port) as proxy:
        stack = stack_on(tmp_path, upstream, proxy.url)
        try:
            stack.start()
            with Visitor(stack.base_url) as visitor:
                session_id = visitor.start(question)
                readers = [Reader(visitor, session_id) for _ in range(3)]
                wait_for_text(readers, 60)
                before = stack.pids
                begun = time.monotonic()
                assert proxy.freeze_subscriptions() == 2, "the server's and the worker's"
                wait_until(lambda: proxy.subscribed == 2, description="both subscribe again", timeout=NOTICED_SECONDS)
                took = time.monotonic() - begun
                transcripts = [reader.wait_for_end() for reader in readers]
                assert stack.pids == before
                again = visitor.start("tokens=20 rate=200 seed=31")
                assert visitor.read(again).answer() == "".join(text_for("tokens=20 rate=200 seed=31"))
        finally:
            stack.stop()
    assert {transcript.answer() for transcript in transcripts} == {"".join(text_for(question))}
    assert [reader.connections for reader in readers] == [1, 1, 1]
    assert {transcript.snapshots for transcript in transcripts} == {1}
    assert took < NOTICED_SECONDS


def test_losing_one_announcement_in_a_hundred_loses_no_event(
    tmp_path: Path, upstream: Upstream, redis: RedisChild
) -> None:
    """Readers get all of the text in order (`Transcript` checks it), and no gap exceeds the bound.

    The next announcement reveals a loss; only the last one before a silence has to wait for a poll.
    """
    print(f"seed {SEED}")
    questions: list[str] = []
    readers: list[Reader] = []
    transcripts: list[Transcript] = []
    with RedisProxy(redis.port, loss=LOSS, seed=SEED) as proxy:
        stack = stack_on(tmp_path, upstream, proxy.url)
        try:
            stack.start()
            with Visitor(stack.base_url) as visitor:
                # On a busy machine a worker appends more tokens at once, so that fewer announcements are made.
                while proxy.lost <= ENOUGH_LOST:
                    first = SEED + len(questions)
                    asked = [f"tokens=200 rate=30 seed={seed}" for seed in range(first, first + 12)]
                    questions += asked
                    readers += [Reader(visitor, visitor.start(question)) for question in asked]
                    transcripts = [reader.wait_for_end() for reader in readers]
        finally:
            stack.stop()
    print(f"{proxy.lost} of {proxy.lost + proxy.delivered} announcements were lost")
    for question, reader, transcript in zip(questions, readers, transcripts, strict=True):
        assert transcript.answer() == "".join(text_for(question))
        assert (reader.connections, transcript.snapshots) == (1, 1)
    gaps = [gap for reader in readers for gap in reader.gaps]
    assert max(gaps) < DELAY_SECONDS
    assert sum(gap > 1 for gap in gaps) <= proxy.lost / 4
