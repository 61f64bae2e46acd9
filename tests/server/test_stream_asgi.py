"""A stream through ASGI, whose client leaves, stalls and hangs exactly when a test says so."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from starlette.types import Message, Scope

from midsentence.events import Delta
from midsentence.jobs import Jobs
from midsentence.log import Kind, SessionLog, Submitted, Write
from midsentence_server import requests
from midsentence_server.relay import deadlines
from tests.support.app_fixture import STUCK_SECONDS, AppFixture, app_fixture
from tests.support.client import lines_of, parse
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def brief_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "LINGER_SECONDS", 0.1)


@dataclass
class Client:
    """One request and the connection it came on."""

    sent: list[Message] = field(default_factory=list[Message])
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    _incoming: asyncio.Queue[Message] = field(default_factory=asyncio.Queue[Message])

    def __post_init__(self) -> None:
        self.reads.set()
        self._incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def stall(self) -> None:
        """Stop reading: the server's buffer is full."""
        self.reads.clear()

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return await self._incoming.get()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_closed(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


def open_stream(fixture: AppFixture, client: Client, *, path: str = "", query: bytes = b"") -> asyncio.Task[None]:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path or f"/sessions/{fixture.session_id}/events",
        "query_string": query,
        "headers": [(b"host", b"midsentence.test"), (b"cookie", b"midsentence=" + fixture.cookie.encode())],
    }
    return asyncio.create_task(cast("Any", fixture.app(scope, client.receive, client.send)))


async def receives(client: Client, text: bytes) -> None:
    await eventually(lambda: text in client.body, description=f"the client has {text!r}")


async def test_headers_and_a_comment_come_before_the_snapshot() -> None:
    async with app_fixture() as fixture:
        client = Client()
        task = open_stream(fixture, client)
        await receives(client, b"event: state")
        start, first = client.sent
        assert start["type"] == "http.response.start"
        assert first["body"].startswith(b": midsentence\nretry: ")
        assert b"event: snapshot" in first["body"]
        client.leave()
        await task


async def test_a_client_that_leaves_ends_the_stream_and_its_subscription() -> None:
    async with app_fixture() as fixture:
        client = Client()
        task = open_stream(fixture, client)
        await receives(client, b"event: state")
        assert (fixture.feed_count(), await fixture.subscriptions()) == (1, 1)
        client.leave()
        await asyncio.wait_for(task, 1)
        assert fixture.reader_count() == 0
        await eventually(lambda: none(fixture), description="Redis counts no subscription")
        assert fixture.feed_count() == 0


async def none(fixture: AppFixture) -> bool:
    return await fixture.subscriptions() == 0


async def test_a_cancelled_stream_is_removed() -> None:
    """Cancelled by uvicorn, when the grace period of a shutdown is over."""
    async with app_fixture() as fixture:
        client = Client()
        task = open_stream(fixture, client)
        await receives(client, b"event: state")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fixture.reader_count() == 0
        await eventually(lambda: none(fixture), description="Redis counts no subscription")
        assert fixture.feed_count() == 0


async def test_two_readers_share_one_subscription() -> None:
    async with app_fixture() as fixture:
        one, two = Client(), Client()
        tasks = [open_stream(fixture, one), open_stream(fixture, two)]
        await receives(one, b"event: state")
        await receives(two, b"event: state")
        assert (fixture.feed_count(), await fixture.subscriptions()) == (1, 1)
        await fixture.write("to both")
        await receives(one, b"to both")
        await receives(two, b"to both")
        one.leave()
        await asyncio.wait_for(tasks[0], 1)
        assert (fixture.feed_count(), await fixture.subscriptions()) == (1, 1), "the other still listens"
        await fixture.write("to one")
        await receives(two, b"to one")
        assert b"to one" not in one.body
        two.leave()
        await asyncio.wait_for(tasks[1], 1)
        assert fixture.reader_count() == 0


async def test_a_stuck_reader_is_cut_and_does_not_delay_others() -> None:
    """A write has a deadline; after it the application returns and the server closes the connection."""
    async with app_fixture() as fixture:
        stuck, other = Client(), Client()
        tasks = [open_stream(fixture, stuck), open_stream(fixture, other)]
        await receives(stuck, b"event: state")
        await receives(other, b"event: state")
        stuck.stall()
        began = asyncio.get_running_loop().time()
        for number in range(20):
            await fixture.write(f"<{number}>")
            await receives(other, f"<{number}>".encode())
        assert asyncio.get_running_loop().time() - began < STUCK_SECONDS * 5, "the other reader did not wait"
        await asyncio.wait_for(tasks[0], STUCK_SECONDS + 1)
        assert asyncio.get_running_loop().time() - began >= STUCK_SECONDS
        assert b"<0>" not in stuck.body
        await fixture.write("after it")
        await receives(other, b"after it")
        other.leave()
        await tasks[1]
        assert fixture.reader_count() == 0


async def test_a_slow_reader_is_not_cut() -> None:
    """Each write has its own deadline, so a slow reader makes progress; later frames arrive in one piece."""
    async with app_fixture(stuck_reader_seconds=1) as fixture:
        client = Client()
        task = open_stream(fixture, client)
        await receives(client, b"event: state")
        for round_ in range(3):
            client.stall()
            for number in range(5):
                await fixture.write(f"<{round_}{number}>")
            await asyncio.sleep(0.4)  # together longer than one deadline
            client.reads.set()
            await receives(client, f"<{round_}4>".encode())
        assert not task.done()
        assert client.body.count(b"event: delta") == 15
        assert len(client.sent) < 15, "frames were joined"
        client.leave()
        await task


async def test_a_silent_stream_pings() -> None:
    async with app_fixture(ping_seconds=0.05) as fixture:
        client = Client()
        task = open_stream(fixture, client)
        await eventually(lambda: client.body.count(b"event: ping\ndata: {}\n\n") >= 3, description="three pings")
        client.leave()
        await task


async def test_a_draining_server_ends_its_streams_and_is_not_ready() -> None:
    """8.9: `retry:`, then a clean end without `end`."""
    async with app_fixture() as fixture:
        client, probe = Client(), Client()
        task = open_stream(fixture, client)
        await receives(client, b"event: state")
        fixture.services.hub.drain()
        await asyncio.wait_for(task, 1)
        assert client.is_closed
        assert client.sent[-1]["body"].startswith(b"retry: ")
        assert b"event: end" not in client.body
        await open_stream(fixture, probe, path="/readyz")
        assert probe.sent[0]["status"] == 503


async def test_a_one_shot_reader_gets_text_that_came_before_it_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    """10.1: it arrives piece by piece, without a reset."""
    start = SessionLog.start

    async def answered_at_once(log: SessionLog, owner: str, text: str, *, kind: Kind, model: str | None) -> Submitted:
        submitted = await start(log, owner, text, kind=kind, model=model)
        (claim,) = await Jobs(fixture.store).claim("worker", "a model", 1)
        deltas = [(Delta(piece).type, Delta(piece).encoded()) for piece in ("Al", "ready")]
        await log.write([Write(claim.lease, 1, deltas)])
        return submitted

    async with app_fixture(push=True) as fixture:
        monkeypatch.setattr(SessionLog, "start", answered_at_once)
        client = Client()
        task = open_stream(fixture, client, path="/push", query=b"param=x")
        await receives(client, b"ready")
        client.leave()
        await task
    events = list(parse(lines_of(iter([client.body]))))
    assert [(event.type, event.data) for event in events] == [("", ""), ("message", "Al"), ("message", "ready")]
    assert [str(event.id).partition("/")[2] for event in events] == ["1.0-0", "1.1-1", "1.1-2"]


@pytest.mark.parametrize("pieces", [[], [b'{"text": "x']], ids=["nothing", "a part"])
async def test_a_slow_body_is_answered_with_408(monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]) -> None:
    """2.1: 408 body_too_slow, and the connection is not used again."""
    monkeypatch.setattr(requests, "_BODY_SECONDS", 0.1)
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    for piece in pieces:
        incoming.put_nowait({"type": "http.request", "body": piece, "more_body": True})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async with app_fixture() as fixture:
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "path": "/sessions",
            "query_string": b"",
            "headers": [(b"host", b"midsentence.test"), (b"content-type", b"application/json")],
        }
        await asyncio.wait_for(cast("Any", fixture.app(scope, incoming.get, send)), 2)
    headers = dict(sent[0]["headers"])
    assert (sent[0]["status"], headers[b"connection"]) == (408, b"close")
    assert b"body_too_slow" in sent[1]["body"]
