"""The `midsentence-worker` command."""

import asyncio
import signal
import sys

import structlog
import typer
import uvloop

from midsentence import logs
from midsentence.errors import BadSettingsError
from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence_worker.models import make_model
from midsentence_worker.worker import Worker

_logger = structlog.get_logger()


async def _work(settings: Settings) -> None:
    store, model = Store(settings), make_model(settings)
    worker = Worker(settings, store, model)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)
    _logger.info("working", worker=worker.name, model=model.name, turns=settings.worker_concurrency)
    try:
        await worker.run()
    finally:
        await model.aclose()
        await store.aclose()


def work() -> None:
    """Answer the messages that wait in the log."""
    try:
        settings = Settings.load()
    except BadSettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    logs.configure(settings, "worker")
    uvloop.run(_work(settings))


def main() -> None:
    typer.run(work)


if __name__ == "__main__":
    sys.exit(main())
