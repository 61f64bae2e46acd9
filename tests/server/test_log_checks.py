"""Feeds are compared with their logs often and cheaply, and a log is read only where something was missed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest

from midsentence.errors import StoreUnavailableError
from midsentence.events import Delta, encode
from midsentence.ids import EventId, new_session_id
from midsentence.log import Access, Head, SessionLog, View
from midsentence.settings import Settings
from midsentence_server.relay import log_checks
from midsentence_server.relay.burst import Burst
from midsentence_server.relay.feed import Feed
from midsentence_server.relay.hub import Hub
from midsentence_server.relay.log_checks import LogChecks
from tests.support.keys import KEYS
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from midsentence.store.subscriptions import Subscriptions

pytestmark = pytest.mark.anyio

FEEDS = 300
ACCESS = Access("ann", "chat", "")
HEAD = Head(ACCESS, "streaming", 1, 1, b"1.1-7", "A title", "a model")


class SilentLog:
    """Sessions whose turn runs and writes nothing. A test may change the head of all, or of some."""

    def __init__(self, state: str = "streaming") -> None:
        self.head = HEAD._replace(state=cast("Any", state))
        self.changed: dict[str, Head | StoreUnavailableError | None] = {}
        self.reads = self.running = self.most_running = 0
        self.compared: Counter[str] = Counter()
        # When how many heads were read, in whole milliseconds.
        self.times: Counter[int] = Counter()
        # Of servers, by the end of the session's id.
        self.silent_server = ""

    async def read(self, session_id: str, cursor: EventId | None = None, *, window: bool = False) -> View:
        del window
        self.reads += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        for _ in range(3):
            await asyncio.sleep(0)
        self.running -= 1
        head = self.changed.get(session_id, self.head)
        assert isinstance(head, Head)
        top = EventId(1, 1, 7)
        return View(head.access, head.state, head.turn, top, head.title, head.model, [], cursor or top, [], None)

    async def heads(self, session_ids: list[str]) -> list[Head | StoreUnavailableError | None]:
        if self.silent_server and session_ids[0].endswith(self.silent_server):
            await asyncio.Event().wait()
        self.compared.update(session_ids)
        self.times[round(asyncio.get_running_loop().time() * 1000)] += len(session_ids)
        await asyncio.sleep(0)
        return [self.changed.get(session_id, self.head) for session_id in session_ids]

    def servers_of(self, session_ids: list[str]) -> list[object]:
        return [self.silent_server and session_id.endswith(self.silent_server) for session_id in session_ids]


class Follower:
    def __init__(self) -> None:
        self.pings: list[float] = []
        self.wakes = 0

    def deliver(self, burst: Burst) -> None:
        del burst

    def wake(self) -> None:
        self.wakes += 1

    def ping(self) -> None:
        self.pings.append(asyncio.get_running_loop().time())


async def loaded(log: SilentLog, checks: LogChecks, session_id: str = "") -> Feed:
    feed = Feed(
        session_id or new_session_id(16),
        cast("SessionLog", log),
        checks,
        ping_seconds=15,
        replay_seconds=300,
        redis_timeout_seconds=5,
    )
    feed.subscribed()
    await feed.load(b"")
    return feed


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock skips the time in which there is nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        me = cast("Any", self)
        if not me._ready and me._scheduled:
            self.now = max(self.now, me._scheduled[0]._when)
        cast("Any", super())._run_once()


def run_skipping(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(main())


class Live:
    def begin(self, channel: str, feed: Feed) -> bool:
        del channel
        feed.subscribed()
        return True

    def unsubscribe(self, channel: str) -> None:
        pass


async def follow(log: SilentLog, seconds: float) -> list[Follower]:
    """Feeds that all begin at the same moment, each with a follower, for so long."""
    hub = Hub(cast("SessionLog", log), cast("Subscriptions", Live()), KEYS, Settings.model_validate({}))
    followers: list[Follower] = []
    for _ in range(FEEDS):
        feed = await hub.feed(new_session_id(16))
        await feed.load(b"")
        followers.append(Follower())
        feed.join(followers[-1])
    running = asyncio.create_task(hub.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return followers


def test_silent_streams_are_compared_every_three_seconds_and_never_read() -> None:
    """Compared with a read, a head costs a fiftieth. Comparisons of different streams spread over the time."""

    async def work() -> None:
        log = SilentLog()
        await follow(log, 60)
        assert log.reads == FEEDS, "one for each, when it began"
        # Every 2.1 to 3 s, and up to 0.1 s later.
        assert min(log.compared.values()) >= 60 / 3.1 - 1
        assert max(log.compared.values()) <= 60 / 2.1 + 1
        # They begin within 0.9 s, and then spread over 3 s.
        assert max(log.times.values()) < FEEDS / 4

    run_skipping(work)


def test_idle_streams_are_compared_every_thirty_seconds_and_never_read() -> None:
    async def work() -> None:
        log = SilentLog("idle")
        await follow(log, 300)
        assert log.reads == FEEDS
        assert min(log.compared.values()) >= 300 / 31 - 1
        assert max(log.compared.values()) <= 300 / 21 + 1
        assert max(log.times.values()) < FEEDS / 4

    run_skipping(work)


def test_pings_of_streams_that_fell_silent_together_spread() -> None:
    """8.6: at most 15 s pass between two of them."""

    async def work() -> None:
        followers = await follow(SilentLog(), 60)
        ticks = Counter(round(at * 10) for follower in followers for at in follower.pings)
        assert max(ticks.values()) < FEEDS / 4
        for follower in followers:
            times = [0.0, *follower.pings]
            assert max(b - a for a, b in pairwise(times)) <= 15.2

    run_skipping(work)


@pytest.mark.parametrize(
    "head",
    [
        HEAD._replace(top=b"1.1-8"),
        HEAD._replace(top=b"1.1-6"),
        HEAD._replace(newest=2),
        None,
    ],
    ids=["more", "lost tail", "queued", "deleted"],
)
async def test_feed_reads_its_log_where_events_or_messages_were_missed(head: Head | None) -> None:
    log = SilentLog()
    checks = LogChecks(cast("SessionLog", log))
    feed = await loaded(log, checks)
    other = await loaded(log, checks)
    reads = log.reads
    log.changed[feed.session_id] = head
    checks.add(feed)
    checks.add(other)
    await eventually(lambda: log.compared[feed.session_id], description="they were compared")
    read = feed.refresh()
    await asyncio.wait([read])
    # The read that was found necessary, and the one of this test, which follows it.
    assert log.reads == reads + 2


@pytest.mark.parametrize(
    "head",
    [
        HEAD._replace(state="idle"),
        HEAD._replace(title="Another title"),
        HEAD._replace(model=None),
        HEAD._replace(access=ACCESS._replace(share="a capability")),
    ],
    ids=["state", "title", "model", "share"],
)
async def test_feed_takes_another_state_over_without_a_read(head: Head) -> None:
    log = SilentLog()
    checks = LogChecks(cast("SessionLog", log))
    feed = await loaded(log, checks)
    follower = Follower()
    feed.join(follower)
    reads = log.reads
    for _ in range(2):
        log.changed[feed.session_id] = head
        compared = log.compared[feed.session_id]
        checks.add(feed)
        await eventually(lambda: log.compared[feed.session_id] > compared, description="it was compared")  # noqa: B023
        await asyncio.sleep(0)
    assert feed.state is not None
    assert (feed.access, feed.state.state, feed.state.title, feed.state.model) == (
        head.access,
        head.state,
        head.title,
        head.model,
    )
    assert b"event: state" in feed.state_wire
    assert (log.reads, follower.wakes) == (reads, 1), "readers are woken once"


async def test_feed_takes_no_state_over_that_is_older_than_a_read() -> None:
    log = SilentLog()
    feed = await loaded(log, LogChecks(cast("SessionLog", log)))
    older = HEAD._replace(title="An older title")
    before_a_read = feed.begin_read()
    await feed.load(b"")
    assert feed.compare(older, before_a_read) is None
    before_a_check = feed.begin_read()
    feed.begin_read()
    assert feed.compare(older, before_a_check) is None
    assert feed.state is not None
    assert feed.state.title == HEAD.title
    read = feed.refresh()
    await asyncio.sleep(0)
    during_a_read = feed.begin_read()
    assert feed.compare(HEAD, during_a_read) is not None, "another read follows the one that is running"
    await asyncio.wait([read])


async def test_feed_that_gets_frames_during_a_check_takes_the_state_over() -> None:
    log = SilentLog()
    feed = await loaded(log, LogChecks(cast("SessionLog", log)))
    mark = feed.begin_read()
    feed.published(b"1.1-7 1.1-8 -\n" + encode(EventId(1, 1, 8), "delta", Delta("more").encoded()))
    assert feed.compare(HEAD._replace(title="Another title"), mark) is None
    assert feed.state is not None
    assert (feed.top, feed.state.title) == (b"1.1-8", "Another title")
    assert feed.compare(HEAD, feed.begin_read()) is not None, "a failover has lost the frame"


async def test_announced_state_is_taken_over_without_a_read() -> None:
    """A turn's claim and its end announce one each."""
    log = SilentLog()
    feed = await loaded(log, LogChecks(cast("SessionLog", log)))
    reads = log.reads
    log.head = HEAD._replace(state="idle")
    feed.published(b"1.1-7 1.1-7 s\n")
    await eventually(lambda: feed.is_idle, description="the state was taken over")
    log.head = HEAD._replace(top=b"1.1-8", title="Another title")
    feed.published(b"1.1-7 1.1-8 s\n" + encode(EventId(1, 1, 8), "delta", Delta("more").encoded()))
    await eventually(lambda: b"Another title" in feed.state_wire, description="the state was taken over")
    assert log.reads == reads


async def test_few_logs_are_read_at_once_where_all_changed() -> None:
    log = SilentLog()
    checks = LogChecks(cast("SessionLog", log))
    feeds = [await loaded(log, checks) for _ in range(FEEDS)]
    log.most_running = 0
    log.head = HEAD._replace(newest=2)
    for feed in feeds:
        checks.add(feed)
    await eventually(lambda: log.reads == 2 * FEEDS, description="all were read again")
    assert log.most_running == log_checks.BATCH


async def test_feeds_that_are_subscribed_again_are_compared_before_memory_answers() -> None:
    log = SilentLog()
    checks = LogChecks(cast("SessionLog", log))
    feed = await loaded(log, checks)
    reads = log.reads
    feed.interrupted()
    feed.subscribed()
    assert feed.cached(b"1.1-7") is None
    await eventually(lambda: feed.cached(b"1.1-7") is not None, description="it was compared")
    assert log.reads == reads
    feed.interrupted()
    feed.subscribed()
    mark = feed.begin_read()
    feed.compare(HEAD, mark._replace(subscription=mark.subscription - 1))
    assert feed.cached(b"1.1-7") is None, "that head is older than the subscription"


async def test_redis_server_that_does_not_answer_delays_no_feed_of_another() -> None:
    log = SilentLog()
    checks = LogChecks(cast("SessionLog", log))
    stuck, other = [await loaded(log, checks, new_session_id(16)[:-1] + end) for end in "AQ"]
    log.silent_server = "A"
    checks.add(stuck)
    checks.add(other)
    await eventually(lambda: log.compared[other.session_id], description="the other feed was compared")
    assert not log.compared[stuck.session_id]


def test_feed_is_compared_again_soon_where_redis_failed() -> None:
    async def work() -> None:
        log = SilentLog("idle")
        checks = LogChecks(cast("SessionLog", log))
        feed = await loaded(log, checks)
        log.changed[feed.session_id] = StoreUnavailableError("away")
        checks.add(feed)
        await asyncio.sleep(0.5)
        assert log.compared[feed.session_id] == 1
        await asyncio.sleep(1)
        assert log.compared[feed.session_id] == 2
        assert log.reads == 1
        feed.close()

    run_skipping(work)


async def test_closed_feed_is_not_read() -> None:
    log = SilentLog()
    checks = LogChecks(cast("SessionLog", log))
    feed = await loaded(log, checks)
    log.head = HEAD._replace(newest=2)
    checks.add(feed)
    feed.close()
    await eventually(lambda: log.compared[feed.session_id], description="it was compared")
    for _ in range(5):
        await asyncio.sleep(0)
    assert log.reads == 1
