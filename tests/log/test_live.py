"""Listeners receive each append, and learn when they may have missed one."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from midsentence.events import Delta, decode
from midsentence.jobs import Jobs
from midsentence.log import SessionLog, Write
from midsentence.store.store import Store
from midsentence.store.subscriptions import Subscriptions
from tests.log.conftest import with_sentinel
from tests.support.keys import KEYS
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, with_sentinel]


class Recorder:
    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.subscriptions = self.interruptions = self.in_batches = 0

    def subscribed(self) -> None:
        self.subscriptions += 1

    def interrupted(self) -> None:
        self.interruptions += 1

    def published(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def batch_end(self) -> None:
        self.in_batches = len(self.payloads)


@pytest.fixture
async def live(store: Store) -> AsyncGenerator[Subscriptions]:
    live = Subscriptions(store)
    listening = asyncio.create_task(live.run())
    yield live
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await live.aclose()


async def recorder_of(live: Subscriptions, session_id: str) -> Recorder:
    """Subscribe to a session, and wait until Redis has confirmed it."""
    recorder = Recorder()
    await live.subscribe(KEYS.session(session_id).live, recorder)
    await eventually(lambda: recorder.subscriptions == 1, description="Redis confirmed the subscription")
    return recorder


async def test_a_listener_receives_an_append_with_its_frames(live: Subscriptions, log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    recorder = await recorder_of(live, session_id)
    (claim,) = await jobs.claim("w1", "demo", 1)
    await log.write([Write(claim.lease, 1, [(Delta.type, Delta("你好\n").encoded())])])
    await eventually(lambda: len(recorder.payloads) == 2, description="the claim and the append were received")
    assert recorder.payloads[0] == b"1.0-0 1.0-0 s\n"
    assert recorder.in_batches == 2
    header, _, frames = recorder.payloads[1].partition(b"\n")
    assert header == b"1.0-0 1.1-1 -"
    assert [(str(event.id), event.type, event.data) for event in decode(frames)] == [
        ("1.1-1", "delta", '{"text":"你好\\n"}'.encode())
    ]


async def test_an_unsubscribed_listener_receives_nothing(live: Subscriptions, log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "hello")
    gone = await recorder_of(live, session_id)
    live.unsubscribe(KEYS.session(session_id).live)
    await log.submit(session_id, "ann", "second")
    there = await recorder_of(live, session_id)
    await log.submit(session_id, "ann", "third")
    await eventually(lambda: there.payloads, description="the subscribed listener received it")
    assert gone.payloads == []
