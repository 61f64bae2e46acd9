"""Whatever stands in Redis, reading a session never fails: what cannot be read is passed over, and logged once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from midsentence.errors import MidsentenceError
from midsentence.events import Delta, End, Entry, Reasoning
from midsentence.fold import stored_turn
from midsentence.ids import EventId
from midsentence.jobs import Jobs
from midsentence.log import SessionLog, View, Write, Written
from midsentence.owners import Owners
from midsentence.settings import Settings
from midsentence.store.scripts import command
from midsentence.store.store import Store
from tests.support.fake_redis import fake_redis
from tests.support.keys import KEYS

SECRET = "a secret text"
LONE_SURROGATE = b'{"text":"\\ud800"}'

# Values that are nearly right, and any bytes.
VALUES = st.sampled_from(
    [
        b"",
        b"\xff\xfe",
        b"-1",
        b"1.5",
        b"007",
        b"99999999999999999999",
        b"inf",
        b"streaming",
        b"push",
        b"1.1-1",
        b"1.1000-1",
        b"9.0-0",
        b"1-1",
        b"99999999999999-1",
        b"null",
        b"[]",
        b"[{}]",
        b"[null,1]",
        b'[{"turn":1}]',
        b'[{"turn":"1","role":"user"}]',
        b'[{"turn":2,"parent":1,"role":"assistant","text":"x","end":"exploded"}]',
        b'[{"turn":2,"parent":1,"role":"assistant","text":"\\udc00","end":null}]',
        b'{"role":"user","text":7,"turn":1,"parent":0}',
        b"[" * 5000,
        LONE_SURROGATE,
        b'{"text":"a"},{"text":"b"}',
        b'{"text":"a"}\n\n',
        b"k\n7\n-\n{}",
        b'c:k\n1\nstopped\n{"text":"x"',
        b"k\n99999999999999999999\n-\n{}",
    ]
) | st.binary(max_size=24)
META = st.sampled_from(
    [
        *("state", "turn", "top", "last", "title", "model", "kind", "share", "attempt", "epoch", "epoch_base", "base"),
        *("run", "lease", "stop", "mark", "folded", "ended", "updated"),
    ]
)
TYPES = st.sampled_from(
    [b"delta", b"reasoning", b"tool", b"end", b"reset", b"start", b"message", b"snapshot", b"what", b"", b"a\nb"]
)


pytestmark = pytest.mark.anyio


@pytest.fixture
def logged() -> Generator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@dataclass
class Damage:
    """What another program left in a session: fields of its hash, stored turns, events and waiting messages."""

    meta: dict[str, bytes | None] = field(default_factory=dict[str, bytes | None])
    turns: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    events: Sequence[tuple[str, bytes, bytes]] = ()
    queue: Sequence[bytes] = ()


DAMAGES = st.builds(
    Damage,
    st.dictionaries(META, VALUES | st.none(), max_size=4),
    st.dictionaries(st.sampled_from([b"2", b"7", b"running", b"x"]) | st.binary(max_size=4), VALUES, max_size=3).map(
        lambda turns: {number: turn for number, turn in turns.items() if number != b"1"}
    ),
    st.lists(st.tuples(st.sampled_from(["next", "next", "*", "9999999999999999-1"]), TYPES, VALUES), max_size=4),
    st.lists(VALUES, max_size=3),
)


class Session:
    """A session in a Redis in memory: two turns have ended, one runs, and one waits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.log, self.jobs, self.owners = SessionLog(store), Jobs(store), Owners(store)
        self.id = ""
        self.is_second_damaged = False

    async def fill(self) -> None:
        self.id, _ = await self.log.start("ann", "question 1")
        await self.owners.note("ann", self.id)
        for turn in (1, 2):
            await self.finish(turn)
            await self.log.submit(self.id, "ann", f"question {turn + 1}")
        (claim,) = await self.jobs.claim("w", "demo", 1)
        events = [(Reasoning.type, Reasoning("so").encoded()), (Delta.type, Delta("half").encoded())]
        await self.log.write([Write(claim.lease, 1, events)])
        await self.log.submit(self.id, "ann", "question 4", key="k")

    async def finish(self, turn: int, after: int = 0) -> None:
        (claim,) = await self.jobs.claim("w", "demo", 1)
        entries = [
            Entry(turn, turn - 1, "user", f"question {turn}"),
            Entry(turn, turn - 1, "assistant", f"answer {turn}", "stop"),
        ]
        events = [(Delta.type, Delta(f"answer {turn}").encoded()), (End.type, End("stop").encoded())]
        await self.log.write([Write(claim.lease, after + 1, events, stored_turn(entries))])

    async def damage(self, damage: Damage) -> None:
        keys = KEYS.session(self.id)
        self.is_second_damaged = b"2" in damage.turns
        for name, value in damage.meta.items():
            request = command("HDEL", keys.meta, name) if value is None else command("HSET", keys.meta, name, value)
            await self.store.execute(request)
        for number, turn in damage.turns.items():
            await self.store.execute(command("HSET", keys.turns, number, turn))
        for at, (place, event_type, data) in enumerate(damage.events):
            stream_id = EventId(3, 1, 3 + at).stream_id if place == "next" else place
            await self.store.execute_all([command("XADD", keys.log, stream_id, event_type, data)])
        for item in damage.queue:
            await self.store.execute(command("RPUSH", keys.queue, item))


async def with_session(test: Callable[[Session], Awaitable[None]], damage: Damage) -> None:
    async with fake_redis() as url:
        store = Store(Settings.model_validate({"redis_url": url, "partitions": 1, "lease_seconds": 0.001}))
        try:
            session = Session(store)
            await session.fill()
            await session.damage(damage)
            await test(session)
        finally:
            await store.aclose()


def texts(view: View) -> list[str]:
    assert view.fold is not None
    # Everything that was read can be sent.
    msgspec.json.encode(view.snapshot("x"))
    return [entry.text for entry in view.fold.messages()]


async def everything_works(session: Session) -> None:
    log, jobs = session.log, session.jobs
    other, _ = await log.start("bob", "of another session in the same partition")
    for cursor, window in ((None, False), (EventId(3, 0, 0), False), (EventId(1, 0, 0), True)):
        view = await log.read(session.id, cursor, window=window)
        if view.fold is not None:
            found = texts(view)
            assert found[:2] == ["question 1", "answer 1"]
            assert session.is_second_damaged or found[2:4] == ["question 2", "answer 2"]
    (head,) = await log.heads([session.id])
    assert head is not None
    assert session.id in {listed.session_id for listed in await session.owners.sessions("ann")}
    await log.rename(session.id, "ann", "another title")
    await log.share(session.id, "ann")
    for turn in (None, 1, 2, 3, 4):
        try:
            await log.stop(session.id, "ann", turn)
        except MidsentenceError:
            assert turn not in {None, 1}
    for on_busy in ("queue", "interrupt", "reject"):
        with contextlib.suppress(MidsentenceError):  # busy, or full
            await log.submit(session.id, "ann", "and then?", on_busy=on_busy)
    for _ in range(4):
        claims = await jobs.claim("w2", "demo", 8)
        assert other in {claim.lease.session_id for claim in claims}
        for claim in claims:
            await jobs.release(claim.lease, counts=False)
    await jobs.trim()
    assert await log.read(other)
    await log.delete(session.id, "ann")


@given(DAMAGES)
@settings(max_examples=60, deadline=None)
@example(Damage({"kind": b"push"}))
@example(Damage({"top": None, "turn": None, "last": None, "state": None}))
@example(Damage({"folded": b"x"}, {b"running": b"[]"}))
@example(Damage(turns={b"2": b"[" + LONE_SURROGATE + b"]"}, events=[("next", b"delta", LONE_SURROGATE)]))
def test_a_damaged_session_is_read_continued_and_deleted(damage: Damage) -> None:
    if damage.meta.get("kind") == b"push":
        # It says of itself that it is another kind of session.
        del damage.meta["kind"]
    asyncio.run(with_session(everything_works, damage))


async def test_what_is_passed_over_is_logged_once_and_without_its_text(logged: list[Any]) -> None:
    async def read(session: Session) -> None:
        for _ in range(3):
            await session.log.read(session.id)
        assert sorted(line["place"] for line in logged) == ["event delta", "stored turn", "title"]
        assert {line["session"] for line in logged} == {session.id}
        assert SECRET not in str(logged)

    spoilt = b'{"text":7,"why":"%b"}' % SECRET.encode()
    end = b'[{"turn":2,"parent":1,"role":"user","text":"","end":"%b"}]' % SECRET.encode()
    events = [("next", b"delta", spoilt), ("next", b"delta", spoilt)]
    await with_session(read, Damage({"title": SECRET.encode() + b"\xff"}, {b"2": end}, events))


async def test_an_event_keeps_its_number_and_does_not_lose_its_neighbours() -> None:
    async def read(session: Session) -> None:
        view = await session.log.read(session.id)
        assert texts(view)[-1] == "half and whole"
        tail = await session.log.read(session.id, EventId(3, 1, 2))
        assert [(str(event.id), event.type) for event in tail.events] == [
            ("3.1-3", "delta"),
            ("3.1-4", "delta"),
            ("3.1-5", "unreadable"),
            ("3.1-6", "delta"),
        ]

    good = [Delta(text).encoded() for text in (" and", " whole")]
    events = [good[0], LONE_SURROGATE, b"{}\n\ndata: {}", good[1]]
    await with_session(read, Damage(events=[("next", b"delta", data) for data in events]))


async def test_an_entry_counts_for_what_can_be_read_of_it() -> None:
    async def read(session: Session) -> None:
        view = await session.log.read(session.id)
        assert view.fold is not None
        assert view.fold.turn(2) == [Entry(2, 1, "user", "asked"), Entry(2, 1, "assistant", "kept", "error")]
        assert (await session.log.stop(session.id, "ann", 2)).reason == "error"

    turn = (
        b'[{"turn":2,"parent":1,"role":"user","text":"asked"},{"role":"user"},7,'
        b'{"turn":2,"parent":"?","role":"assistant","text":"kept","end":"exploded","error":{},"tools":0}]'
    )
    await with_session(read, Damage(turns={b"2": turn}))


async def test_a_turn_that_cannot_be_claimed_is_repaired_from_the_log() -> None:
    async def claim(session: Session) -> None:
        await asyncio.sleep(0.01)
        (claim,) = await session.jobs.claim("w2", "demo", 8)
        assert (claim.lease.turn, claim.lease.epoch, claim.seq, claim.attempt) == (3, 2, 2, 1)
        write = Write(claim.lease, 3, [(Delta.type, Delta(" and whole").encoded())])
        (outcome,) = await session.log.write([write])
        assert outcome == Written("ok", 3)
        assert texts(await session.log.read(session.id))[-1] == "half and whole"

    await with_session(claim, Damage({"top": b"?", "turn": b"", "epoch": None, "attempt": b"x", "state": b"?"}))


async def test_what_is_no_message_does_not_hold_up_the_queue() -> None:
    async def finish(session: Session) -> None:
        await asyncio.sleep(0.01)
        await session.finish(3, after=2)
        view = await session.log.read(session.id)
        assert (view.turn, view.state, view.queued) == (4, "queued", [])
        await session.finish(4)
        view = await session.log.read(session.id)
        assert (view.turn, view.state, texts(view)[-2:]) == (4, "idle", ["question 4", "answer 4"])

    queue = [b"?", b"k\n2\n-\n{}", b"k\n99999999999999999999\n-\n{}"]
    await with_session(finish, Damage(queue=queue))
