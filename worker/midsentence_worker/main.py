"""The `midsentence-worker` command."""

import sys
from functools import partial

import typer

from midsentence.errors import BadSettingsError, CannotStartError
from midsentence.launcher import processes as supervised
from midsentence.launcher.options import Name, Processes, ReadyDescriptor
from midsentence.launcher.process_count import process_count
from midsentence.launcher.program import Program
from midsentence.launcher.ready_pipe import say_ready
from midsentence.settings import Settings


def work(processes: Processes = "1", name: Name = "worker", ready_descriptor: ReadyDescriptor = None) -> None:
    """Answer the messages that wait in the log."""
    try:
        settings = Settings.load()
        settings.check_models()
        count = process_count("--processes", processes)
        if count > 1:
            raise typer.Exit(supervised.run(Program("worker", count), settings))
    except (BadSettingsError, CannotStartError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    # Imported here: the supervisor of several processes needs none of it.
    from midsentence_worker import process  # noqa: PLC0415

    try:
        process.run(settings, name, partial(say_ready, ready_descriptor))
    except BadSettingsError as error:
        # The model's address: only the HTTP client, which takes a second to import, knows all that it may not be.
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def main() -> None:
    typer.run(work)


if __name__ == "__main__":
    sys.exit(main())
