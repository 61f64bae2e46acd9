"""The application on a Redis in memory, with one session whose turn runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from starlette.applications import Starlette

from midsentence.events import Delta
from midsentence.jobs import Claim, Jobs
from midsentence.log import Write
from midsentence.settings import Settings
from midsentence.store.scripts import command
from midsentence.store.store import Store
from midsentence_server.app import create_app
from midsentence_server.relay.feed import Feed
from midsentence_server.services import Services
from tests.support.fake_redis import fake_redis
from tests.support.keys import KEYS

STUCK_SECONDS = 0.2


@dataclass
class AppFixture:
    """The application, a session whose turn runs, and the claim with which a test writes to its log."""

    app: Starlette
    store: Store
    session_id: str
    cookie: str
    claim: Claim
    written: int = 1

    @property
    def services(self) -> Services:
        return self.app.state.services

    async def write(self, text: str) -> None:
        """Append one delta as the turn's worker."""
        delta = Delta(text)
        write = Write(self.claim.lease, self.written, [(delta.type, delta.encoded())])
        (outcome,) = await self.services.log.write([write])
        assert cast("Any", outcome).status == "ok"
        self.written += 1

    async def subscriptions(self) -> int:
        """The number of subscriptions to the session's channel, from Redis."""
        live = KEYS.session(self.session_id).live
        ((_, count),) = await self.store.execute(command("PUBSUB SHARDNUMSUB", live))
        return count

    @property
    def feeds(self) -> list[Feed]:
        return list(self.services.hub._feeds.values())  # pyright: ignore[reportPrivateUsage]

    def feed_count(self) -> int:
        return len(self.feeds)

    def reader_count(self) -> int:
        return sum(len(feed.followers) for feed in self.feeds)


@asynccontextmanager
async def app_fixture(**settings: object) -> AsyncGenerator[AppFixture]:
    async with fake_redis() as url:
        chosen = Settings.model_validate(
            {"redis_url": url, "partitions": 1, "stuck_reader_seconds": STUCK_SECONDS, **settings}
        )
        async with _app_fixture(chosen) as fixture:
            yield fixture


@asynccontextmanager
async def _app_fixture(settings: Settings) -> AsyncGenerator[AppFixture]:
    store = Store(settings)
    app = create_app(settings, store)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://midsentence.test") as client:
            response = await client.post("/sessions", json={"text": "Is anybody there?"})
            assert response.status_code == 202
            cookie = client.cookies["midsentence"]
        (claim,) = await Jobs(store).claim("worker", "a model", 1)
        yield AppFixture(app, store, response.json()["session_id"], cookie, claim)
