"""A session whose Redis server is not known yet: its requests wait until it is subscribed, or fail with the reason."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from midsentence.errors import StoreUnavailableError
from midsentence.ids import new_session_id
from midsentence.settings import Settings
from midsentence_server.relay.feed import Feed
from midsentence_server.relay.hub import Hub
from tests.support.keys import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from midsentence.log import SessionLog
    from midsentence.store.subscriptions import Subscriptions

pytestmark = pytest.mark.anyio

REASON = "no node of the cluster answers"


class Live:
    """Subscriptions to a cluster whose map is not known: a server is found, or not, when `found` is called."""

    def __init__(self) -> None:
        self.channels: set[str] = set()
        self.found: Callable[[bool], None]

    def begin(self, channel: str, feed: Feed) -> bool:
        del channel, feed
        return False

    async def subscribe(self, channel: str, feed: Feed) -> None:
        self.channels.add(channel)
        is_found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.found = is_found.set_result
        if not await is_found:
            raise StoreUnavailableError(REASON)
        asyncio.get_running_loop().call_soon(feed.subscribed)

    def unsubscribe(self, channel: str) -> None:
        self.channels.discard(channel)


def hub_of(live: Live) -> Hub:
    log = cast("SessionLog", None)  # nothing is read before the subscription
    return Hub(log, cast("Subscriptions", live), KEYS, Settings.model_validate({}))


async def waiting(hub: Hub, session_id: str, count: int) -> list[asyncio.Task[Feed]]:
    requests = [asyncio.create_task(hub.feed(session_id)) for _ in range(count)]
    # Once to begin the requests, and once to begin the subscription.
    for _ in range(2):
        await asyncio.sleep(0)
    return requests


async def test_requests_wait_until_the_session_is_subscribed() -> None:
    live = Live()
    requests = await waiting(hub_of(live), new_session_id(16), 3)
    assert not any(request.done() for request in requests)
    live.found(True)
    async with asyncio.timeout(5):
        assert len(set(await asyncio.gather(*requests))) == 1


async def test_requests_fail_with_the_reason_and_the_next_one_tries_again() -> None:
    live = Live()
    hub, session_id = hub_of(live), new_session_id(16)
    requests = await waiting(hub, session_id, 2)
    live.found(False)
    async with asyncio.timeout(5):
        failures = await asyncio.gather(*requests, return_exceptions=True)
    assert [str(failure) for failure in failures] == [REASON] * 2
    assert live.channels == set()
    (again,) = await waiting(hub, session_id, 1)
    live.found(True)
    async with asyncio.timeout(5):
        assert isinstance(await again, Feed)


async def test_request_that_leaves_does_not_stop_the_others() -> None:
    live = Live()
    first, second = await waiting(hub_of(live), new_session_id(16), 2)
    first.cancel()
    live.found(True)
    async with asyncio.timeout(5):
        assert isinstance(await second, Feed)
