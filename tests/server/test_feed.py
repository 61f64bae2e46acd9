"""A feed under every order in which a log can grow and its announcements can come, be lost, or come late."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from midsentence.events import Event, Queued, decode
from midsentence.ids import EventId
from midsentence.log import SessionLog, View
from midsentence_server.feed import Feed, wire_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

SESSION = "00" + "A" * 22
SCHEDULES = 1_000


@dataclass
class ScriptedLog:
    """A log in memory that a test appends to; announcements are handed over when the test says so."""

    events: list[Event] = field(default_factory=lambda: [Event(EventId(1, 0, 0), "message", b"{}")])
    announced: list[bytes] = field(default_factory=list[bytes])
    reads: int = 0

    def append(self, count: int, epoch: int = 1) -> None:
        before = self.events[-1].id
        new = [
            Event(EventId(1, epoch, before.seq + n), "delta", b'{"text":"%d"}' % (before.seq + n))
            for n in range(1, count + 1)
        ]
        self.events += new
        self.announced.append(f"{before} {new[-1].id} -\n".encode() + wire_of(new))

    async def read(self, session_id: str, cursor: EventId | None = None) -> View:
        assert session_id == SESSION
        self.reads += 1
        await asyncio.sleep(0)
        held = list(self.events)
        await asyncio.sleep(0)
        ids = [event.id for event in held]
        tail = held[ids.index(cursor) + 1 :] if cursor is not None and cursor in ids else None
        queued: list[Queued] = []
        # Anything that is not None says "by snapshot"; what it holds is no matter to a feed.
        fold = cast("Any", None if tail is not None else held)
        return View("ann", "chat", "streaming", 1, ids[-1], "", None, queued, tail or [], fold)


def make(log: ScriptedLog) -> Feed:
    return Feed(SESSION, cast("SessionLog", log))


class Cursor:
    """A reader's side: what it was given, in order, starting over at a snapshot."""

    def __init__(self) -> None:
        self.got: list[EventId] = []
        self.at = b""

    async def catch_up(self, feed: Feed, log: ScriptedLog) -> None:
        found = feed.since(self.at) if self.at else None
        if found is None:
            view = await feed.read(EventId.parse(self.at.decode()))
            if view.fold is not None:
                self.got = [event.id for event in cast("list[Event]", view.fold)]
            found = wire_of(view.events), str(view.top).encode()
        wire, self.at = found
        self.got += [event.id for event in decode(wire)]
        assert log.reads < 10_000


async def test_no_order_of_growth_announcement_loss_and_reading_loses_or_repeats_an_event() -> None:
    """Seeded schedules over a feed, its log and two readers."""
    for seed in range(SCHEDULES):
        chance = random.Random(seed)
        log = ScriptedLog()
        feed = make(log)
        readers = [Cursor(), Cursor()]
        epoch = 1
        for _ in range(chance.randrange(4, 16)):
            match chance.randrange(8):
                case 0 | 1:
                    log.append(chance.randrange(1, 4), epoch)
                case 2 | 3 if log.announced:
                    feed.published(log.announced.pop(0))
                case 4 if log.announced:
                    log.announced.pop(0)
                case 5:
                    epoch += chance.randrange(2)
                case 6:
                    feed.refresh() if feed.top else None
                case _:
                    await chance.choice(readers).catch_up(feed, log)
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        for payload in log.announced:
            feed.published(payload)
        log.append(1, epoch)  # the last announcement is lost; the clock finds it
        for reader in readers:
            await reader.catch_up(feed, log)
        feed.refresh()
        top = str(log.events[-1].id).encode()
        await eventually(
            lambda feed=feed, top=top: feed.top == top, description=f"seed {seed}: the feed knows the newest"
        )
        for reader in readers:
            await reader.catch_up(feed, log)
            assert reader.got == [event.id for event in log.events], f"seed {seed}"
        feed.close()


async def test_a_lost_tail_is_never_glued_to_what_was_written_instead() -> None:
    """A failover takes 1.1-2 back and another worker writes 1.2-2: whoever saw the lost one starts over."""
    log = ScriptedLog()
    feed, reader = make(log), Cursor()
    await reader.catch_up(feed, log)
    log.append(2)
    feed.published(log.announced.pop())
    await reader.catch_up(feed, log)
    assert str(reader.got[-1]) == "1.1-2"
    del log.events[-1]
    log.append(2, epoch=2)
    log.announced.clear()
    log.append(1, epoch=2)
    feed.published(log.announced.pop())
    await eventually(lambda: feed.top == b"1.2-4", description="the feed read the log again")
    await reader.catch_up(feed, log)
    assert [str(event_id) for event_id in reader.got] == ["1.0-0", "1.1-1", "1.2-2", "1.2-3", "1.2-4"]


async def test_a_burst_of_losses_costs_few_reads() -> None:
    log = ScriptedLog()
    feed = make(log)
    await feed.read(None)
    for _ in range(100):
        log.append(1)
        log.append(1)
        feed.published(log.announced[-1])
    await eventually(lambda: feed.top == b"1.1-200", description="the feed caught up")
    assert log.reads <= 4


async def test_what_a_feed_keeps_is_bounded_and_a_reader_beyond_it_reads_the_log() -> None:
    log = ScriptedLog()
    feed, slow = make(log), Cursor()
    await slow.catch_up(feed, log)
    for _ in range(600):
        log.append(1)
        feed.published(log.announced.pop())
    assert feed.since(slow.at) is None
    reads = log.reads
    await slow.catch_up(feed, log)
    assert log.reads == reads + 1
    assert slow.got == [event.id for event in log.events]
