"""8.17: what cannot be read in a session fails none of its routes, and no reader of its stream."""

import contextlib
import json
from collections.abc import AsyncGenerator

import httpx
import pytest

from midsentence import announcements
from midsentence.events import encode
from midsentence.ids import EventId
from midsentence.store.scripts import command
from midsentence_server.one_shot import OneShot
from tests.server.test_stream_asgi import Client, open_stream, receives
from tests.support.app_fixture import AppFixture, app_fixture
from tests.support.keys import KEYS
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

LONE_SURROGATE = b'{"text":"\\ud800"}'
HUGE = 20 * 2**20


@contextlib.asynccontextmanager
async def client_of(fixture: AppFixture) -> AsyncGenerator[httpx.AsyncClient]:
    cookies = {"midsentence": fixture.cookie}
    transport = httpx.ASGITransport(fixture.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://midsentence.test", cookies=cookies) as client:
        yield client


async def spoil(fixture: AppFixture) -> None:
    """Leave what cannot be read in the session's hash, its stored turns, its events and its queue."""
    keys = KEYS.session(fixture.session_id)
    await fixture.write("good ")
    for seq, (event_type, data) in enumerate(
        [("delta", LONE_SURROGATE), ("delta", b"7\n\nid: 9.9-9"), ("new\xff", b"{}"), ("end", b'{"reason":"burst"}')], 2
    ):
        await fixture.store.execute(command("XADD", keys.log, EventId(1, 1, seq).stream_id, event_type, data))
    await fixture.store.execute(
        command("HSET", keys.meta, "title", b"\xff", "model", b"\xfe", "top", b"?", "updated", b"soon", "state", b"?"),
        command("HSET", keys.turns, "0", b"[{}]", "x", b""),
        command("RPUSH", keys.queue, b"no message"),
        command("ZADD", KEYS.owned_sessions(await owner_of(fixture)), 1, b"\xff no session"),
    )


async def owner_of(fixture: AppFixture) -> str:
    (owner,) = await fixture.store.execute(command("HGET", KEYS.session(fixture.session_id).meta, "owner"))
    return owner.decode()


async def test_every_route_answers_for_a_spoilt_session() -> None:
    async with app_fixture() as fixture, client_of(fixture) as client:
        await spoil(fixture)
        path = f"/sessions/{fixture.session_id}"
        shown = (await client.get(path)).raise_for_status().json()
        texts = [(message["role"], message["text"], message["end"]) for message in shown["messages"]]
        assert texts == [("user", "Is anybody there?", None), ("assistant", "good ", "error")]
        listed = (await client.get("/sessions")).raise_for_status().json()["sessions"]
        assert [(each["session_id"], each["title"], each["updated"]) for each in listed] == [
            (fixture.session_id, "\ufffd", 0)
        ]
        (await client.post(f"{path}/messages", json={"text": "and now?"})).raise_for_status()
        (await client.post(f"{path}/share")).raise_for_status()
        (await client.patch(path, json={"title": "good"})).raise_for_status()
        (await client.delete(path)).raise_for_status()
        assert (await client.get(path)).status_code == 404


async def test_stream_of_a_spoilt_session_goes_on() -> None:
    async with app_fixture() as fixture:
        await spoil(fixture)
        client = Client()
        reader = open_stream(fixture, client)
        await receives(client, b"event: state")
        assert b"good " in client.body
        late = Client()
        late_reader = open_stream(fixture, late, query=b"last_event_id=1.1-1")
        await receives(late, b"id: 1.1-5\nevent: end")
        # The data of the second one has a line break, the type of the third is no word.
        for seq in (3, 4):
            assert b"id: 1.1-%d\nevent: unreadable\ndata: {}\n\n" % seq in late.body
        for left, task in ((client, reader), (late, late_reader)):
            left.leave()
            await task


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"1.1-1\n",
        b"1.1-1 \xff\xff -\nnothing of ours",
        announcements.encode("1.1-1", "1.1-99", b"id: 1.1-99\nno event\n\n", state_changed=True),
    ],
)
async def test_announcement_that_cannot_be_read_costs_no_reader_the_events_behind_it(payload: bytes) -> None:
    async with app_fixture() as fixture:
        await fixture.write("one ")
        client = Client()
        reader = open_stream(fixture, client)
        await receives(client, b"one ")
        await fixture.store.execute(command("SPUBLISH", KEYS.session(fixture.session_id).live, payload))
        await fixture.write("two")
        await receives(client, b"two")
        late = Client()
        late_reader = open_stream(fixture, late)
        await receives(late, b"one two")
        for left, task in ((client, reader), (late, late_reader)):
            left.leave()
            await task


async def test_event_of_20_megabytes_reaches_new_and_old_readers() -> None:
    async with app_fixture() as fixture:
        await fixture.write("one ")
        client = Client()
        reader = open_stream(fixture, client)
        await receives(client, b"one ")
        await fixture.write("x" * HUGE)
        await eventually(lambda: sum(len(each.get("body", b"")) for each in client.sent) > HUGE, description="a reader")
        late = Client()
        late_reader = open_stream(fixture, late, query=b"last_event_id=1.1-1")
        await eventually(lambda: sum(len(each.get("body", b"")) for each in late.sent) > HUGE, description="a late one")
        async with client_of(fixture) as http:
            shown = (await http.get(f"/sessions/{fixture.session_id}")).json()
        assert len(shown["messages"][-1]["text"]) == HUGE + 4
        for left, task in ((client, reader), (late, late_reader)):
            left.leave()
            await task


def test_one_shot_passes_over_what_it_cannot_read() -> None:
    dialect = OneShot("00" + "A" * 22)
    frames = [
        b"id: 1.1-1\nno event\n\n",
        encode(EventId(1, 1, 2), "delta", LONE_SURROGATE),
        encode(EventId(1, 1, 3), "delta", json.dumps({"text": "good"}).encode()),
        encode(EventId(1, 1, 4), "end", b'{"reason":"burst"}'),
    ]
    wire = dialect.render(b"".join(frames))
    assert b"data: good\n" in wire
    assert wire.endswith(b"data: [END]\n\n")
    assert dialect.is_finished
