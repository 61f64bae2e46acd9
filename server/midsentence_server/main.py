"""The `midsentence-server` command."""

import sys
from typing import Annotated

import typer

from midsentence.address import free_address, listening_sockets
from midsentence.errors import BadSettingsError, CannotStartError
from midsentence.settings import Settings
from midsentence_server import process


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8000,
) -> None:
    """Take messages in and relay answers out, over HTTP."""
    try:
        settings = Settings.load()
        # Before uvicorn starts, for an error message that says what to do.
        sockets = listening_sockets(free_address(host, port))
    except (BadSettingsError, CannotStartError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    process.run(settings, "server", sockets, lambda: None)


def main() -> None:
    typer.run(serve)


if __name__ == "__main__":
    sys.exit(main())
