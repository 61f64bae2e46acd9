"""A Redis that is full, gone or cut off; each test has a Redis of its own."""

import asyncio
from pathlib import Path

import pytest

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence.store.subscriptions import Subscriptions
from tests.log.test_live import recorder_of
from tests.support.processes import RedisChild
from tests.support.redis_deployments import execute_on_all
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("appendonly", ["yes", "no"])
async def test_a_durable_start_needs_an_append_only_file(tmp_path: Path, appendonly: str) -> None:
    child = RedisChild(tmp_path, None, "--appendonly", appendonly)
    child.start()
    store = Store(Settings.model_validate({"redis_url": child.url, "durable": True}))
    try:
        if appendonly == "yes":
            assert (await SessionLog(store).start("ann", "hello")).turn == 1
        else:
            with pytest.raises(StoreUnavailableError, match="appendonly yes"):
                await SessionLog(store).start("ann", "hello")
    finally:
        await store.aclose()
        child.stop()


async def test_a_full_redis_refuses_a_message_with_a_reason(tmp_path: Path) -> None:
    child = RedisChild(tmp_path, None, "--maxmemory", "100kb", "--maxmemory-policy", "noeviction")
    child.start()
    store = Store(Settings.model_validate({"redis_url": child.url}))
    try:
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            await SessionLog(store).start("ann", "hello")
    finally:
        await store.aclose()
        child.stop()


async def test_a_full_redis_deletes_a_session(tmp_path: Path) -> None:
    """Deleting is what frees its memory."""
    child = RedisChild(tmp_path)
    child.start()
    store = Store(Settings.model_validate({"redis_url": child.url}))
    try:
        log = SessionLog(store)
        session_id, _ = await log.start("ann", "hello")
        await execute_on_all(store, "CONFIG", "SET", "maxmemory", "100kb", "maxmemory-policy", "noeviction")
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            await log.submit(session_id, "ann", "again")
        await log.delete(session_id, "ann")
        with pytest.raises(SessionNotFoundError):
            await log.read(session_id)
    finally:
        await store.aclose()
        child.stop()


async def test_an_unreachable_redis_is_named_without_its_password() -> None:
    store = Store(Settings.model_validate({"redis_url": "redis://:hunter22@127.0.0.1:1/0", "redis_timeout_seconds": 1}))
    with pytest.raises(StoreUnavailableError, match=r"Redis at 127\.0\.0\.1:1 does not answer") as caught:
        await store.ping()
    assert "hunter22" not in str(caught.value)
    await store.aclose()


async def test_a_lost_subscription_is_made_again_and_reported(tmp_path: Path) -> None:
    """The listener learns that it may have missed messages, and receives the later ones."""
    child = RedisChild(tmp_path)
    child.start()
    store = Store(Settings.model_validate({"redis_url": child.url}))
    log, live = SessionLog(store), Subscriptions(store)
    listening = asyncio.create_task(live.run())
    try:
        session_id, _ = await log.start("ann", "hello")
        recorder = await recorder_of(live, session_id)
        await execute_on_all(store, "CLIENT KILL", "TYPE", "pubsub")
        await eventually(lambda: recorder.subscriptions == 2, description="the subscription was made again")
        assert recorder.interruptions == 1
        await log.submit(session_id, "ann", "second")
        await eventually(lambda: recorder.payloads, description="a later message is received")
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await live.aclose()
        await store.aclose()
        child.stop()
