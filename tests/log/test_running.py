"""The stored fold of a running turn: an attach reads only what was appended after it."""

import asyncio
from typing import Any

import pytest

from midsentence.events import Delta, End, Entry, Reasoning, Reset, Tool
from midsentence.fold import Fold
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog, Write
from midsentence.store.scripts import Request, command
from midsentence.store.store import Store
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.turn_writer import TurnWriter
from tests.support.keys import KEYS
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


def deltas(first: int, count: int) -> list[tuple[str, bytes]]:
    return [(Delta.type, Delta(f"{number},").encoded()) for number in range(first, first + count)]


def text(count: int) -> str:
    return "".join(f"{number}," for number in range(1, count + 1))


async def answer(log: SessionLog, session_id: str) -> str:
    return entries(await log.read(session_id))[-1].text


def entries(view: Any) -> list[Entry]:
    return view.fold.messages()


async def begun(log: SessionLog, jobs: Jobs) -> tuple[str, Claim]:
    session_id, _ = await log.start("ann", "Count.")
    (claim,) = await jobs.claim("w1", "demo", 64)
    return session_id, claim


async def folded_to(log: SessionLog, session_id: str, claim: Claim, seq: int) -> bool:
    fold = (await log.read(session_id)).fold
    assert fold is not None
    writer = TurnWriter(claim.lease, 0, AppendBatcher(log, 0))
    writer.begin(fold)
    return await log.fold(claim.lease, seq, writer._fold_to(0))  # pyright: ignore[reportPrivateUsage]


class Replies:
    """Counts the events of the running turn in each reply of the script that reads a session."""

    def __init__(self, store: Store) -> None:
        self._run = store.run
        self.running: list[int] = []

    async def run(self, request: Request) -> Any:
        reply = await self._run(request)
        if request.script is not None and request.script.name == "read":
            self.running.append(len(reply[11]))
        return reply


async def test_folded_events_are_not_read_again(
    log: SessionLog, jobs: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, claim = await begun(log, jobs)
    await log.write([Write(claim.lease, 1, deltas(1, 300))])
    replies = Replies(store)
    monkeypatch.setattr(store, "run", replies.run)
    before = entries(await log.read(session_id))
    assert await folded_to(log, session_id, claim, 300)
    assert entries(await log.read(session_id)) == before
    await log.write([Write(claim.lease, 301, deltas(301, 7))])
    assert await answer(log, session_id) == text(307)
    assert replies.running == [301, 301, 0, 7]


async def test_a_fold_by_another_worker_or_of_lost_events_is_refused(log: SessionLog, jobs: Jobs) -> None:
    session_id, claim = await begun(log, jobs)
    await log.write([Write(claim.lease, 1, deltas(1, 5))])
    assert not await folded_to(log, session_id, claim, 6), "a failover lost the event"
    stranger = claim._replace(lease=claim.lease._replace(worker="w2"))
    assert not await folded_to(log, session_id, stranger, 5)
    assert await answer(log, session_id) == text(5)


async def test_a_new_attempt_replaces_the_fold_of_the_one_before(log: SessionLog, jobs: Jobs) -> None:
    session_id, claim = await begun(log, jobs)
    await log.write([Write(claim.lease, 1, deltas(1, 9))])
    assert await folded_to(log, session_id, claim, 9)
    await jobs.release(claim.lease, counts=True)
    (second,) = await jobs.claim("w2", "demo", 64)
    assert not await folded_to(log, session_id, claim, 9), "another worker holds the lease"
    assert await answer(log, session_id) == text(9), "the text stays until the new attempt resets it"
    reset = (Reset.type, Reset(2, "another worker took over").encoded())
    await log.write([Write(second.lease, 10, [reset, *deltas(1, 4)])])
    assert await answer(log, session_id) == text(4)


async def test_a_stored_fold_keeps_reasoning_and_tools_until_a_reset(log: SessionLog, jobs: Jobs) -> None:
    session_id, claim = await begun(log, jobs)
    thoughts = [(Reasoning.type, Reasoning(f"{number}?").encoded()) for number in range(3)]
    call = (Tool.type, Tool("t1", "clock", "{}").encoded())
    await log.write([Write(claim.lease, 1, [*thoughts, call])])
    assert await folded_to(log, session_id, claim, 4)
    result = (Tool.type, Tool("t1", "clock", result="noon").encoded())
    await log.write([Write(claim.lease, 5, [*thoughts, result, *deltas(1, 2)])])
    running = entries(await log.read(session_id))[-1]
    assert (running.text, running.reasoning) == (text(2), "0?1?2?0?1?2?")
    assert running.tools == [Tool("t1", "clock", "{}", "noon")]
    await jobs.release(claim.lease, counts=True)
    (second,) = await jobs.claim("w2", "demo", 64)
    await log.write([Write(second.lease, 11, [(Reset.type, Reset(2, "another worker").encoded()), *thoughts[:1]])])
    assert entries(await log.read(session_id))[-1] == Entry(1, 0, "assistant", "", reasoning="0?")


async def test_a_finished_turn_leaves_no_running_fold(log: SessionLog, jobs: Jobs, store: Store) -> None:
    session_id, claim = await begun(log, jobs)
    writer = TurnWriter(claim.lease, 0, batcher := AppendBatcher(log, 0))
    sending = asyncio.create_task(batcher.run())
    writer.begin((await log.read(session_id)).fold or Fold())
    writer.add(Delta("all"))
    await eventually(lambda: not writer.has_unwritten, description="it was written")
    assert await folded_to(log, session_id, claim, 1)
    await writer.end(End("stop"))
    sending.cancel()
    meta, turns = KEYS.session(session_id).meta, KEYS.session(session_id).turns
    held = await store.execute(command("HGET", meta, "folded"), command("HKEYS", turns))
    assert held == [None, [b"1"]]
    assert entries(await log.read(session_id)) == [
        Entry(1, 0, "user", "Count."),
        Entry(1, 0, "assistant", "all", "stop"),
    ]


async def test_a_writer_stores_folds_so_that_an_attach_reads_little(
    log: SessionLog, jobs: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attach to an answer of 1,000 events reads fewer than 256 of them."""
    session_id, claim = await begun(log, jobs)
    batcher = AppendBatcher(log, 0)
    sending = asyncio.create_task(batcher.run())
    writer = TurnWriter(claim.lease, 0, batcher)
    writer.begin((await log.read(session_id)).fold or Fold())
    replies = Replies(store)
    monkeypatch.setattr(store, "run", replies.run)
    for number in range(1, 501):
        # Two types in turn, since equal neighbours would be merged.
        writer.add(Delta(f"{number},"))
        writer.add(Reasoning("hm"))

    async def reads_little() -> bool:
        assert (await log.read(session_id)).top.seq <= 1000
        return replies.running[-1] < 256

    await eventually(lambda: not writer.has_unwritten, description="all is in the log")
    await eventually(reads_little, description="the fold was stored")
    assert (await log.read(session_id)).top.seq == 1000
    assert await answer(log, session_id) == text(500)
    assert entries(await log.read(session_id))[-1].reasoning == "hm" * 500
    sending.cancel()
