"""What the server relies on that uvicorn does not promise: one test for each, whose message says what depends on it.

A new release of uvicorn that fails here must not be allowed in pyproject.toml before the code is adapted.
"""

import asyncio
import gc
import inspect
import os
import signal
import weakref
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tests.support.uvicorn_server import Socket
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

REQUEST = b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"


class Application:
    """Keeps every request open until `returns` is set, without an answer."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.returns = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        self.scopes.append(scope)
        await self.returns.wait()


class Opened:
    """A connection of uvicorn's, as it is during a request."""

    def __init__(self, requests: bytes = REQUEST) -> None:
        self.application = Application()
        self.state = ServerState()
        self.socket = Socket()
        self.connection = self._connection()
        self.socket.protocol = self.connection
        self.connection.connection_made(self.socket)
        self.connection.data_received(requests)

    def _connection(self) -> Any:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415 - a test of its own

        config = uvicorn.Config(self.application, http=HttpToolsProtocol)
        config.load()
        return HttpToolsProtocol(config, self.state, {})

    async def finished(self) -> None:
        self.application.returns.set()
        await eventually(lambda: not self.state.tasks, description="the requests are over")


async def test_httptools_impl_has_the_connection_and_its_cycle() -> None:
    module = pytest.importorskip("uvicorn.protocols.http.httptools_impl", reason="streams then go through ASGI")
    for name in ("HttpToolsProtocol", "RequestResponseCycle"):
        assert hasattr(module, name), f"uvicorn_takeover.py is built on {name}; without it streams go through ASGI"


async def test_on_headers_complete_begins_a_request() -> None:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415

    assert hasattr(HttpToolsProtocol, "on_headers_complete"), "TakeoverProtocol extends the scope in it"


async def test_connection_made_begins_a_connection() -> None:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415

    for name in ("connection_made", "connection_lost"):
        assert name in vars(HttpToolsProtocol), "TakeoverProtocol learns the number of the descriptor in it"


async def test_app_state_is_the_lifespans() -> None:
    opened = Opened()
    assert opened.connection.app_state == {}, "TakeoverProtocol finds `Descriptors` in it; else it refuses too late"
    await opened.finished()


async def test_the_application_starts_after_on_headers_complete() -> None:
    opened = Opened()
    assert not opened.application.scopes, "the extension is added to the scope after the request's task is created"
    await opened.finished()


async def test_scope_is_the_one_that_the_application_gets() -> None:
    opened = Opened()
    await opened.finished()
    assert opened.application.scopes == [opened.connection.scope]
    assert opened.application.scopes[0] is opened.connection.scope, "the extension is added to `connection.scope`"


async def test_cycle_is_the_newest_request() -> None:
    opened = Opened()
    cycle = opened.connection.cycle
    assert cycle.scope is opened.connection.scope, "`take_over` must end exactly the request that asked for it"
    await opened.finished()


async def test_connection_and_cycle_can_be_referenced_weakly() -> None:
    opened = Opened()
    for each in (opened.connection, opened.connection.cycle):
        assert weakref.ref(each)() is each, "the extension in the scope must not hold the request"
    await opened.finished()


async def test_response_started_and_complete_silence_uvicorn() -> None:
    opened = Opened()
    cycle = opened.connection.cycle
    assert (cycle.response_started, cycle.response_complete) == (False, False), "`take_over` sets these two"
    cycle.response_started = cycle.response_complete = True
    await opened.finished()
    assert (opened.socket.writes, opened.socket.closed) == ([], False), "uvicorn must not answer into a stream"


async def test_pipeline_holds_the_requests_behind() -> None:
    opened = Opened(REQUEST + REQUEST)
    pipeline: Any = opened.connection.pipeline
    assert len(pipeline) == 1, "`take_over` clears it: an endless answer is followed by none"
    pipeline.clear()
    await opened.finished()
    assert len(opened.application.scopes) == 1


async def test_flow_resumes_reading() -> None:
    opened = Opened(REQUEST + REQUEST)
    resumed: list[bool] = []
    opened.socket.resume_reading = lambda: resumed.append(True)
    assert opened.connection.flow.read_paused, "uvicorn stops reading behind a pipelined request"
    opened.connection.flow.resume_reading()
    assert resumed, "a stream must read, or it never learns that its client left"
    opened.connection.pipeline.clear()
    await opened.finished()


async def test_connections_are_those_that_a_shutdown_waits_for() -> None:
    opened = Opened()
    assert opened.connection.connections is opened.state.connections
    assert opened.connection in opened.state.connections, "`take_over` replaces it with the stream's protocol"
    await opened.finished()


async def test_shutdown_is_called_on_each_connection() -> None:
    source = inspect.getsource(uvicorn.Server.shutdown)
    assert "connection.shutdown()" in source, "StreamProtocol has a method `shutdown` for it"


async def test_parser_may_be_none() -> None:
    opened = Opened()
    assert opened.connection.parser is not None
    await opened.finished()
    opened.connection.connection_lost(None)
    assert opened.connection.parser is None, "`take_over` frees the parser as uvicorn does when a connection is lost"


async def test_a_finished_request_does_not_hold_its_connection() -> None:
    opened = Opened()
    await opened.finished()
    opened.socket.lose()
    connection = weakref.ref(opened.connection)
    del opened.connection
    gc.disable()
    try:
        assert connection() is None, "a request that was taken over is freed at once, not by the garbage collector"
    finally:
        gc.enable()


async def test_default_headers_are_pairs_of_bytes() -> None:
    server = uvicorn.Server(uvicorn.Config(Application(), server_header=False))
    server.config.load()
    await server.on_tick(0)
    ((name, value),) = server.server_state.default_headers
    assert (name, type(value)) == (b"date", bytes), "the head of a stream begins with them"


async def test_protocol_class_can_be_configured() -> None:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415

    config = uvicorn.Config(Application(), http=HttpToolsProtocol)
    config.load()
    assert config.http_protocol_class is HttpToolsProtocol, (
        "process.py passes TakeoverProtocol, and makes connections of it"
    )


async def test_on_tick_is_awaited_until_it_asks_to_stop() -> None:
    ticks: list[int] = []

    class Server(uvicorn.Server):
        async def on_tick(self, counter: int) -> bool:
            ticks.append(counter)
            return len(ticks) == 3

    await Server(uvicorn.Config(Application())).main_loop()
    assert len(ticks) == 3, "process.Server.on_tick accepts what waits at the sockets of other processes"


@pytest.fixture
def served() -> "list[str]":
    """What uvicorn calls until it stops after a SIGTERM."""
    calls: list[str] = []

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[Any] | None = None) -> None:
            calls.append(f"startup, started={self.started}")
            await super().startup(sockets)
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

        def handle_exit(self, sig: int, frame: Any) -> None:
            calls.append(f"handle_exit, started={self.started}")
            super().handle_exit(sig, frame)

    def raised(_number: int, _frame: object) -> None:
        calls.append("raised again")

    before = signal.signal(signal.SIGTERM, raised)
    try:
        config = uvicorn.Config(Application(), port=0, log_level="warning", lifespan="off")
        Server(config).run()
    finally:
        signal.signal(signal.SIGTERM, before)
    return calls


def test_startup_is_awaited_before_the_server_is_started(served: list[str]) -> None:
    assert served[0] == "startup, started=False", "process.Server.startup keeps the loop that drains the hub"


def test_handle_exit_is_called_for_a_signal(served: list[str]) -> None:
    assert served[1] == "handle_exit, started=True", "process.Server.handle_exit drains the hub; else streams are cut"


def test_a_signal_is_raised_again_after_the_shutdown(served: list[str]) -> None:
    assert served[2:] == ["raised again"], "process.py installs a handler for it that exits with 0"
