"""A feed and its readers, in every order in which a log grows and its announcements arrive, are lost or are late."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.events import Delta, Event, Message, Queued, decode, encode
from midsentence.fold import Fold
from midsentence.ids import EventId
from midsentence.log import Access, Head, SessionLog, View
from midsentence_server.relay.burst import Burst, chunk
from midsentence_server.relay.dialects import Native
from midsentence_server.relay.feed import Feed
from midsentence_server.relay.log_checks import LogChecks
from midsentence_server.relay.reader import Reader
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

SESSION = "00" + "A" * 22
OWNER = "ann"
SCHEDULES = 600
# Of the log, as MIDSENTENCE_REPLAY_EVENTS bounds it.
REPLAYED = 12


def wire_of(events: list[Event]) -> bytes:
    return b"".join(encode(*event) for event in events)


@dataclass
class ScriptedLog:
    """A log in memory that a test appends to; the test decides when the feed gets the announcements."""

    events: list[Event] = field(
        default_factory=lambda: [Event(EventId(1, 0, 0), "message", Message("user", "?", 1, 0).encoded())]
    )
    announced: list[bytes] = field(default_factory=list[bytes])
    state: str = "streaming"
    replayed: int = REPLAYED
    reads: int = 0
    heads_read: int = 0
    trouble: Exception | None = None

    def append(self, count: int, epoch: int = 1) -> None:
        before = self.events[-1].id
        new = [
            Event(EventId(1, epoch, before.seq + n), "delta", Delta(f"{epoch}-{before.seq + n},").encoded())
            for n in range(1, count + 1)
        ]
        self.events += new
        self.announced.append(f"{before} {new[-1].id} -\n".encode() + wire_of(new))

    def fail_over(self, lost: int) -> None:
        """Lose the newest events, but not the message."""
        del self.events[max(1, len(self.events) - lost) :]

    async def read(self, session_id: str, cursor: EventId | None = None, *, window: bool = False) -> View:
        assert session_id == SESSION
        self.reads += 1
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        held = list(self.events)
        await asyncio.sleep(0)
        ids = [event.id for event in held]
        queued: list[Queued] = []
        about = (Access(OWNER, "chat", ""), cast("Any", self.state), 1, ids[-1], "", None, queued)
        if not window and cursor is not None and cursor in ids and len(held) - ids.index(cursor) <= self.replayed + 1:
            return View(*about, cursor, held[ids.index(cursor) + 1 :], None)
        fold = Fold()
        for event in held:
            fold.apply(event)
        recent = held[-self.replayed - 1 :] if window else held[-1:]
        return View(*about, recent[0].id, recent[1:], fold)

    async def heads(self, session_ids: list[str]) -> list[Head | StoreUnavailableError | None]:
        assert session_ids == [SESSION]
        self.heads_read += 1
        await asyncio.sleep(0)
        if isinstance(self.trouble, StoreUnavailableError):
            return [self.trouble]
        if self.trouble is not None:
            return [None]
        top = str(self.events[-1].id).encode()
        return [Head(Access(OWNER, "chat", ""), cast("Any", self.state), 1, 1, top, "", None)]

    def servers_of(self, session_ids: list[str]) -> list[object]:
        return [None for _ in session_ids]

    def answer(self) -> str:
        return "".join(f"{event.id.epoch}-{event.id.seq}," for event in self.events[1:])


def make(log: ScriptedLog, replay_seconds: float = 300) -> Feed:
    feed = unsubscribed(log, replay_seconds)
    feed.subscribed()
    return feed


def unsubscribed(log: ScriptedLog, replay_seconds: float = 300) -> Feed:
    typed = cast("SessionLog", log)
    checks = LogChecks(typed)
    return Feed(SESSION, typed, checks, ping_seconds=15, replay_seconds=replay_seconds, redis_timeout_seconds=5)


@dataclass
class Client:
    """A page: the text so far, and the id that it would send as Last-Event-ID. Fails at a gap."""

    fold: Fold = field(default_factory=Fold)
    cursor: EventId | None = None
    snapshots: int = 0
    events: int = 0

    def take(self, wire: bytes) -> None:
        # Only the log's events have ids.
        for block in [block for block in wire.split(b"\n\n")[:-1] if block.startswith(b"id: ")]:
            (event,) = decode(block + b"\n\n")
            if event.type == "snapshot":
                self.snapshots += 1
            else:
                assert self.cursor is not None
                assert event.id.seq == self.cursor.seq + 1, "a gap or a duplicate"
            self.events += 1
            self.fold.apply(event)
            self.cursor = event.id

    def answer(self) -> str:
        return "".join(entry.text for entry in self.fold.messages() if entry.role == "assistant")


class Pipe:
    """A sink that can be full."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.is_busy = False
        self.is_closed = False
        self.writes = 0

    def send(self, burst: Burst) -> None:
        assert burst.chunk == chunk(burst.wire)
        self.write(burst.wire)

    def write(self, wire: bytes) -> None:
        assert not self.is_busy, "written to although it is full"
        self.writes += 1
        self.client.take(wire)

    def close(self, last: bytes) -> None:
        del last
        self.is_closed = True


class Tab:
    """A client with its connections."""

    def __init__(self, feed: Feed, log: ScriptedLog) -> None:
        self.feed = feed
        self.log = log
        self.client = Client()
        self.pipe = Pipe(self.client)
        self.reader: Reader | None = None

    async def connect(self, *, until_end: bool = False) -> None:
        if self.reader is not None:
            self.reader.leave()
        self.pipe = Pipe(self.client)
        cursor = self.client.cursor
        first = await self.feed.find(b"" if cursor is None else str(cursor).encode(), until_end=until_end)
        self.reader = Reader(self.feed, Native(OWNER), self.pipe, until_end=until_end)
        self.reader.start(b"", first)

    def unblock(self) -> None:
        self.pipe.is_busy = False
        if self.reader is not None:
            self.reader.wake()


def publish(feed: Feed, payloads: list[bytes]) -> None:
    for payload in payloads:
        feed.published(payload)
    feed.batch_end()


async def test_no_schedule_loses_or_repeats_an_event() -> None:  # noqa: PLR0912
    """Random schedules, seeded: a log grows, fails over and loses announcements; two readers stall, break, reconnect.

    It holds the comparison of `before` with the newest id in `Feed.published`, the reset in `Feed._adopt`, the search
    in the middle of frames in `ReplayBuffer.since`, and the comparison of the cursor in `Reader.deliver`.
    """
    for seed in range(SCHEDULES):
        chance = random.Random(seed)
        log = ScriptedLog()
        feed = make(log)
        tabs = [Tab(feed, log), Tab(feed, log)]
        for tab in tabs:
            await tab.connect()
        epoch = 1
        for _ in range(chance.randrange(4, 24)):
            tab = chance.choice(tabs)
            match chance.randrange(12):
                case 0 | 1 | 2:
                    log.append(chance.randrange(1, 4), epoch)
                case 3 | 4 if log.announced:
                    count = chance.randrange(1, 5)
                    together = log.announced[:count]
                    if len(together) > 2 and chance.randrange(2):
                        del together[1]
                    publish(feed, together)
                    del log.announced[:count]
                case 5 if log.announced:
                    log.announced.pop(0)
                case 6:
                    log.fail_over(chance.randrange(4))
                    epoch += 1
                    log.announced.clear()
                case 7:
                    feed.tick(asyncio.get_running_loop().time() + 5)
                case 8:
                    tab.pipe.is_busy = True
                case 9:
                    tab.unblock()
                case 10 if tab.client.cursor is not None and chance.randrange(2):
                    # The connection breaks in the middle of the last write.
                    known = [event for event in log.events if event.id <= tab.client.cursor]
                    tab.client.cursor = chance.choice(known).id
                    tab.client.fold = Fold()
                    for event in log.events:
                        if event.id <= tab.client.cursor:
                            tab.client.fold.apply(event)
                    await tab.connect()
                case 11 if chance.randrange(2):
                    feed.interrupted()
                    feed.subscribed()
                case _:
                    await tab.connect()
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        publish(feed, log.announced)
        log.append(1, epoch)  # its announcement is lost; a poll finds it
        feed.tick(asyncio.get_running_loop().time() + 40)
        for number, tab in enumerate(tabs):
            tab.unblock()
            await eventually(
                lambda tab=tab, log=log: tab.client.answer() == log.answer(),
                description=f"seed {seed}: reader {number} has the text",
            )
            assert not tab.pipe.is_closed
        feed.close()


async def test_a_lost_tail_is_not_joined_to_its_replacement() -> None:
    """A failover loses 1.1-2 and another worker writes 1.2-2: readers of the lost one start over with a snapshot."""
    log = ScriptedLog()
    feed = make(log)
    tab = Tab(feed, log)
    await tab.connect()
    log.append(2)
    publish(feed, log.announced)
    assert str(tab.client.cursor) == "1.1-2"
    log.fail_over(1)
    log.append(2, epoch=2)
    log.announced.clear()
    log.append(1, epoch=2)
    publish(feed, log.announced)
    await eventually(lambda: tab.client.answer() == "1-1,2-2,2-3,2-4,", description="the new tail")
    assert tab.client.snapshots == 2


async def test_a_burst_of_losses_costs_few_reads() -> None:
    log = ScriptedLog(replayed=400)
    feed = make(log)
    await feed.load(b"")
    for _ in range(100):
        log.append(1)
        log.append(1)
        publish(feed, log.announced[-1:])
    await eventually(lambda: feed.top == b"1.1-200", description="the feed caught up")
    assert log.reads <= 4


async def test_a_burst_is_one_write_for_each_reader() -> None:
    log = ScriptedLog()
    feed = make(log)
    tabs = [Tab(feed, log), Tab(feed, log)]
    for tab in tabs:
        await tab.connect()
    before = [tab.pipe.writes for tab in tabs]
    for _ in range(5):
        log.append(2)
    publish(feed, log.announced)
    assert [tab.pipe.writes for tab in tabs] == [count + 1 for count in before]
    assert {tab.client.answer() for tab in tabs} == {log.answer()}


async def test_a_full_sink_gets_nothing_and_then_all_in_one_write() -> None:
    log = ScriptedLog()
    feed = make(log)
    slow, other = Tab(feed, log), Tab(feed, log)
    await slow.connect()
    await other.connect()
    slow.pipe.is_busy = True
    for _ in range(8):
        log.append(1)
        publish(feed, log.announced[-1:])
    assert (slow.client.answer(), other.client.answer()) == ("", log.answer())
    writes, reads = slow.pipe.writes, log.reads
    slow.unblock()
    assert slow.client.answer() == log.answer()
    assert (slow.pipe.writes, log.reads) == (writes + 1, reads), "one write, from memory"


async def test_the_replay_buffer_is_bounded_and_a_later_reader_reads_the_log() -> None:
    log = ScriptedLog()
    feed = make(log)
    slow = Tab(feed, log)
    await slow.connect()
    slow.pipe.is_busy = True
    cursor = feed.top
    for _ in range(600):
        log.append(1)
        publish(feed, log.announced[-1:])
    assert feed.since(cursor) is None
    reads = log.reads
    slow.unblock()
    await eventually(lambda: slow.client.answer() == log.answer(), description="the slow reader has the text")
    assert log.reads == reads + 1
    assert slow.client.snapshots == 2


async def test_readers_that_reconnect_in_mid_answer_are_served_from_memory() -> None:
    """Every cursor, also in the middle of a frame (`ReplayBuffer._rest_of`), without a read of the log."""
    log = ScriptedLog()
    feed = make(log)
    first = Tab(feed, log)
    await first.connect()
    for _ in range(10):
        log.append(3)
    publish(feed, log.announced)
    reads = log.reads
    crowd: list[Tab] = []
    for event in log.events[:]:
        crowd.append(Tab(feed, log))
        crowd[-1].client.cursor = event.id
        await crowd[-1].connect()
        log.append(1)
        publish(feed, log.announced[-1:])
    assert log.reads == reads
    assert [tab.client.events for tab in crowd] == [len(log.events) - 1 - index for index in range(len(crowd))]


async def test_readers_with_unknown_cursors_share_two_reads() -> None:
    """After a restart no feed has frames: the first reader starts a read, all others share the next one."""
    log = ScriptedLog(replayed=400)
    log.append(100)
    feed = make(log)
    crowd = [Tab(feed, log) for _ in log.events]
    for tab, event in zip(crowd, log.events, strict=True):
        tab.client.cursor = event.id
    await asyncio.gather(*(tab.connect() for tab in crowd))
    assert log.reads <= 2
    assert [tab.client.events for tab in crowd] == [100 - index for index in range(len(crowd))]
    assert sum(tab.client.snapshots for tab in crowd) == 0


async def test_readers_without_a_cursor_share_a_read_and_a_fold() -> None:
    log = ScriptedLog()
    log.append(9)
    feed = make(log)
    crowd = [Tab(feed, log) for _ in range(50)]
    await asyncio.gather(*(tab.connect() for tab in crowd))
    assert log.reads <= 2
    assert {(tab.client.answer(), tab.client.events) for tab in crowd} == {(log.answer(), 1)}
    log.append(3)
    publish(feed, log.announced[-1:])
    reads, late = log.reads, Tab(feed, log)
    await late.connect()
    assert (late.client.answer(), late.client.events, log.reads) == (log.answer(), 1, reads)


@pytest.mark.parametrize("cursor", [EventId(1, 1, 2), EventId(1, 1, 1), None], ids=["caught up", "behind", "no cursor"])
async def test_a_stream_ends_only_after_a_read_that_began_after_the_request(
    cursor: EventId | None,
) -> None:
    """A message may have been posted through another server a moment ago, and its announcement still be on the way.

    That holds for readers that lack older events too.
    """
    log = ScriptedLog(state="idle")
    log.append(2)
    feed = make(log)
    early = Tab(feed, log)
    early.client.cursor = EventId(1, 0, 0)
    await early.connect()
    await feed.load(b"")
    log.state = "streaming"
    log.append(1)
    late = Tab(feed, log)
    if cursor is not None:
        late.client.fold, late.client.cursor = Fold(), cursor
        for event in log.events[1 : cursor.seq + 1]:
            late.client.fold.apply(event)
    await late.connect(until_end=True)
    assert late.client.answer() == log.answer()
    assert not late.pipe.is_closed


async def test_an_interrupted_subscription_makes_readers_read_the_log() -> None:
    log = ScriptedLog()
    feed = make(log)
    tab = Tab(feed, log)
    await tab.connect()
    feed.interrupted()
    log.append(2)
    log.announced.clear()
    other = Tab(feed, log)
    await other.connect()
    assert other.client.answer() == log.answer()


async def test_an_idle_session_drops_its_frames_when_the_log_does() -> None:
    log = ScriptedLog(state="idle")
    feed = make(log, replay_seconds=5)
    await feed.load(b"")
    log.append(2)
    publish(feed, log.announced)
    assert feed.since(b"1.0-0") is not None
    now = asyncio.get_running_loop().time()
    feed.tick(now + 4)
    assert feed.since(b"1.0-0") is not None
    feed.tick(now + 6)
    assert (feed.since(b"1.0-0"), feed.snapshot()) == (None, None)


async def test_a_feed_outlives_its_last_reader_by_ten_seconds() -> None:
    log = ScriptedLog()
    feed = make(log)
    tab = Tab(feed, log)
    await tab.connect()
    assert tab.reader is not None
    tab.reader.leave()
    now = asyncio.get_running_loop().time()
    assert feed.tick(now + 9)
    assert not feed.tick(now + 11)


async def test_a_feed_is_not_dropped_while_a_request_waits_for_a_read() -> None:
    log = ScriptedLog()
    feed = make(log)
    request = asyncio.create_task(Tab(feed, log).connect())
    await asyncio.sleep(0)
    assert feed.tick(asyncio.get_running_loop().time() + 60)
    await request


async def test_a_feed_that_waits_for_its_subscription_is_dropped_after_the_time_out_of_redis() -> None:
    feed = unsubscribed(ScriptedLog())
    now = asyncio.get_running_loop().time()
    assert feed.tick(now + 4)
    assert not feed.tick(now + 6)


async def test_requests_that_wait_for_a_subscription_begin_together_or_fail_together() -> None:
    for is_confirmed in (True, False):
        feed = unsubscribed(ScriptedLog())
        requests = [asyncio.create_task(feed.wait_until_subscribed()) for _ in range(3)]
        await asyncio.sleep(0)
        requests[0].cancel()
        if is_confirmed:
            feed.subscribed()
        else:
            feed.close("no answer")
        async with asyncio.timeout(5):
            left, *others = await asyncio.gather(*requests, return_exceptions=True)
        assert isinstance(left, asyncio.CancelledError)
        assert [str(other) for other in others] == (["None"] * 2 if is_confirmed else ["no answer"] * 2)


async def test_readers_wait_while_redis_fails_and_go_on() -> None:
    log = ScriptedLog()
    feed = make(log)
    tab = Tab(feed, log)
    await tab.connect()
    log.trouble = StoreUnavailableError("away")
    log.append(1)
    feed.refresh()
    with pytest.raises(StoreUnavailableError):
        await feed.load(b"1.9-9")
    assert (tab.client.answer(), tab.pipe.is_closed) == ("", False)
    log.trouble = None
    feed.refresh()
    await eventually(lambda: tab.client.answer() == log.answer(), description="the reader went on")


async def test_readers_of_a_deleted_session_are_closed() -> None:
    log = ScriptedLog()
    feed = make(log)
    tab = Tab(feed, log)
    await tab.connect()
    log.trouble = SessionNotFoundError(SESSION)
    feed.refresh()
    await eventually(lambda: tab.pipe.is_closed, description="the reader was closed")
    assert feed.gone
    assert not feed.followers
