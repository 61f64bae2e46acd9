"""One server process: uvicorn with this application, from its settings to its exit."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Literal

import structlog
import uvicorn

from midsentence import address, logs
from midsentence.settings import Settings
from midsentence_server import descriptors
from midsentence_server.app import create_app
from midsentence_server.neglected_sockets import NeglectedSockets
from midsentence_server.relay import asgi_fallback
from midsentence_server.relay.hub import Hub

_logger = structlog.get_logger()

# Allocations before a pass over the youngest objects, such passes before one over the older ones, and those before a
# full pass.
_COLLECT_AFTER = (10_000, 20, 1_000)


class Server(uvicorn.Server):
    """uvicorn's server waits for open streams at a shutdown, so this one ends them first.

    It also accepts what waits at the sockets of the other processes: one of them may be dead, draining or blocked, and
    the kernel goes on to give its socket a share of the connections.
    """

    def __init__(
        self, config: uvicorn.Config, hub: Hub, announce_ready: Callable[[], None], others: Sequence[socket.socket]
    ) -> None:
        super().__init__(config)
        self._hub = hub
        self._announce_ready = announce_ready
        self._neglected = NeglectedSockets(others)
        # The loop holds tasks only weakly.
        self._accepting: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._announce_ready()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second by uvicorn."""
        ends = await super().on_tick(counter)
        if not ends:
            for connection in self._neglected.accept():
                task = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
                self._accepting.add(task)
                task.add_done_callback(self._accepting.discard)
        return ends

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        self._neglected.close()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        # As uvicorn makes it for its own sockets.
        make: Any = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        _logger.info("draining", signal=signal.Signals(sig).name)
        if self.started:
            self._loop.call_soon_threadsafe(self._hub.drain)
        super().handle_exit(sig, frame)


def run(settings: Settings, name: str, sockets: Sequence[socket.socket], announce_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, and drain.

    The first socket is this process's own, the rest are those of the other processes on its port. `announce_ready` is
    called once it accepts connections.
    """
    logs.configure(settings, name)
    open_files = descriptors.raise_limit()
    app = create_app(settings)
    # A full pass over ten thousand sessions would stop every stream for a fifth of a second. The objects of the start
    # stay anyway, and requests and streams leave no circles of references (tests/server/test_freed_memory.py).
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    config = uvicorn.Config(
        app,
        loop="auto",
        http=http_protocol(),
        ws="none",
        access_log=False,
        log_config=None,  # logs.configure has configured it
        log_level="warning",
        server_header=False,
        backlog=address.BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has stopped; a requested stop must exit with 0.
        signal.signal(number, _stopped)
    own, *others = sockets
    host, port, *_ = own.getsockname()
    _logger.info("serving", host=host, port=port, pid=os.getpid(), open_files=open_files)
    Server(config, app.state.services.hub, announce_ready, others).run([own])


def http_protocol() -> type[asyncio.Protocol] | Literal["auto"]:
    """The connection that streams can take over, else uvicorn's own choice."""
    try:
        from midsentence_server.relay.uvicorn_takeover import TakeoverProtocol  # noqa: PLC0415 - it may be missing
    except ImportError as error:
        asgi_fallback.warn_once(f"uvicorn's connection on httptools cannot be imported: {error}")
        return "auto"
    return TakeoverProtocol


def _stopped(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
