"""The `midsentence-server` command."""

import asyncio
import gc
import signal
import sys
from types import FrameType
from typing import Annotated, Any, Literal

import structlog
import typer
import uvicorn

from midsentence import logs
from midsentence.address import free_address
from midsentence.errors import BadSettingsError, CannotStartError
from midsentence.settings import Settings
from midsentence_server.app import create_app
from midsentence_server.relay import asgi_fallback
from midsentence_server.relay.hub import Hub

_logger = structlog.get_logger()

_BACKLOG = 65_535
# Allocations before a pass over the youngest objects, such passes before one over the older ones, and those before a
# full pass.
_COLLECT_AFTER = (10_000, 20, 1_000)


class Server(uvicorn.Server):
    """uvicorn's server waits for open streams at a shutdown, so this one ends them first."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        _logger.info("draining", signal=signal.Signals(sig).name)
        if self.started:
            self._loop.call_soon_threadsafe(self._hub.drain)
        super().handle_exit(sig, frame)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8000,
) -> None:
    """Take messages in and relay answers out, over HTTP."""
    try:
        settings = Settings.load()
        # Checked before uvicorn starts, for an error message that says what to do.
        ip = free_address(host, port).ip
    except (BadSettingsError, CannotStartError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    logs.configure(settings, "server")
    app = create_app(settings)
    # A full pass over ten thousand sessions would stop every stream for a fifth of a second. The objects of the start
    # stay anyway, and requests and streams leave no circles of references (tests/server/test_freed_memory.py).
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    config = uvicorn.Config(
        app,
        host=ip,
        port=port,
        loop="auto",
        http=http_protocol(),
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        # Thousands of clients may reconnect at once. Beyond the backlog, which the system limits too, TCP retries a
        # connection only after one second, then two.
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has stopped; a requested stop must exit with 0.
        signal.signal(number, _stopped)
    _logger.info("serving", host=host, port=port)
    Server(config, app.state.services.hub).run()


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


def main() -> None:
    typer.run(serve)


if __name__ == "__main__":
    sys.exit(main())
