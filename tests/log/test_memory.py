"""A finished session costs memory for its text, not for its tokens."""

import random

import pytest

from midsentence.events import Delta, End, Event, Reasoning
from midsentence.fold import Fold, stored_turn
from midsentence.ids import EventId
from midsentence.jobs import Jobs
from midsentence.log import SessionLog, Write
from midsentence.store.scripts import command
from midsentence.store.store import Store
from tests.support.redis_deployments import execute_on_all
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
TOKENS = 20_000
WORDS = ("the ", "log ", "reload", "ing ", "断线", "重连", "，", "\n", "一个字", "😀", "costs ")


@pytest.mark.parametrize("thoughts", [0, TOKENS // 2], ids=["text", "reasoning and text"])
async def test_a_finished_session_uses_memory_for_its_text_alone(
    log: SessionLog, jobs: Jobs, store: Store, server_url: str | None, thoughts: int
) -> None:
    """At most 1.3 × the text, reasoning included, and 2 KB; a new reader gets one snapshot."""
    chance = random.Random(20_000)
    tokens = [chance.choice(WORDS) for _ in range(TOKENS)]
    session_id, _ = await log.start("ann", "Write a long one.")
    (claim,) = await jobs.claim("w1", "demo", 64)
    view = await log.read(session_id)
    fold = view.fold or Fold()
    events = [(Reasoning.type, Reasoning(token).encoded()) for token in tokens[:thoughts]]
    events += [(Delta.type, Delta(token).encoded()) for token in tokens[thoughts:]]
    for at in range(0, TOKENS, 500):
        await log.write([Write(claim.lease, at + 1, events[at : at + 500])])
    events.append((End.type, End("stop").encoded()))
    for seq, (kind, data) in enumerate(events, start=1):
        fold.apply(Event(EventId(1, 1, seq), kind, data))
    await log.write([Write(claim.lease, TOKENS + 1, events[-1:], stored_turn(fold.turn(1)))])
    await eventually(jobs.trim, description="the replay window is over", seconds=3)

    text = "".join(tokens)
    finished = await log.read(session_id)
    assert finished.events == []
    answer = finished.snapshot(session_id).messages[-1]
    assert (answer.reasoning or "") + answer.text == text
    if server_url is not None:  # fakeredis holds Python objects, whose size says nothing
        size = len(text.encode())
        assert await held(store, session_id) <= 1.3 * size + 2048


async def held(store: Store, session_id: str) -> int:
    names = [name.decode() for name in await execute_on_all(store, "KEYS", f"*{session_id}*")]
    return sum(await store.execute(*(command("MEMORY USAGE", name, "SAMPLES", 0) for name in names)))
