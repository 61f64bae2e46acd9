"""Where a stream cannot take its connection over, the server says so once and serves the stream through ASGI."""

import sys
from typing import Any

import pytest
from structlog.testing import capture_logs
from uvicorn.protocols.http.h11_impl import H11Protocol

from midsentence_server import process
from midsentence_server.relay import asgi_fallback, uvicorn_takeover
from tests.support.uvicorn_server import Server, serving
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def unwarned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_fallback, "_reasons", [])
    monkeypatch.setattr(uvicorn_takeover.TakeoverProtocol, "_missing", None)


async def streams(server: Server) -> list[Any]:
    """Open two streams, see an event arrive on both, and give the warnings."""
    with capture_logs() as logs:
        sockets = [server.connect() for _ in range(2)]
        for socket in sockets:
            await eventually(lambda socket=socket: b"event: state" in socket.written, description="the stream began")
        await server.fixture.write("an event")
        for socket in sockets:
            await eventually(lambda socket=socket: b"an event" in socket.written, description="the event arrived")
            socket.lose()
        await eventually(lambda: not server.state.tasks, description="both streams ended")
    return [log for log in logs if log["log_level"] == "warning"]


async def test_a_connection_that_can_be_taken_over_warns_of_nothing() -> None:
    async with serving() as server:
        assert await streams(server) == []


async def test_another_protocol_class_is_served_through_asgi() -> None:
    async with serving(H11Protocol) as server:
        (warning,) = await streams(server)
    assert warning["event"] == "streams_through_asgi"
    assert "midsentence-server" in warning["remedy"]


async def test_a_missing_attribute_is_named_and_streams_go_through_asgi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_takeover, "REACHES", (*uvicorn_takeover.REACHES, "flow.not_there"))
    async with serving() as server:
        (warning,) = await streams(server)
    assert "flow.not_there" in warning["reason"]


async def test_a_missing_module_leaves_the_choice_to_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "midsentence_server.relay.uvicorn_takeover")
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.httptools_impl", None)
    with capture_logs() as logs:
        assert process.http_protocol() == "auto"
    assert "httptools" in logs[0]["reason"]


async def test_the_server_takes_connections_over() -> None:
    assert process.http_protocol() is uvicorn_takeover.TakeoverProtocol
