"""The `midsentence-worker` command."""

import sys

import typer

from midsentence.errors import BadSettingsError
from midsentence.settings import Settings
from midsentence_worker import process


def work() -> None:
    """Answer the messages that wait in the log."""
    try:
        settings = Settings.load()
    except BadSettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    process.run(settings, "worker", lambda: None)


def main() -> None:
    typer.run(work)


if __name__ == "__main__":
    sys.exit(main())
