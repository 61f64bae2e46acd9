"""The `midsentence-server` command."""

import socket
import sys
from functools import partial
from typing import Annotated

import typer

from midsentence.address import free_address, listening_sockets
from midsentence.errors import BadSettingsError, CannotStartError
from midsentence.launcher import processes as supervised
from midsentence.launcher.options import Name, Processes, ReadyDescriptor
from midsentence.launcher.process_count import process_count
from midsentence.launcher.program import Program
from midsentence.launcher.ready_pipe import say_ready
from midsentence.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8000,
    *,
    processes: Processes = "1",
    name: Name = "server",
    ready_descriptor: ReadyDescriptor = None,
    listen_descriptors: Annotated[
        str, typer.Option("--listen-fds", hidden=True, help="Sockets that listen already; the first is its own.")
    ] = "",
) -> None:
    """Take messages in and relay answers out, over HTTP."""
    try:
        settings = Settings.load()
        count = process_count("--processes", processes)
        if listen_descriptors:
            sockets = [socket.socket(fileno=int(descriptor)) for descriptor in listen_descriptors.split(",")]
        else:
            sockets = listening_sockets(free_address(host, port), count)
        if count > 1:
            raise typer.Exit(supervised.run(Program("server", count, sockets), settings))
    except (BadSettingsError, CannotStartError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    # Imported here: the supervisor of several processes needs none of it.
    from midsentence_server import process  # noqa: PLC0415

    process.run(settings, name, sockets, partial(say_ready, ready_descriptor))


def main() -> None:
    typer.run(serve)


if __name__ == "__main__":
    sys.exit(main())
