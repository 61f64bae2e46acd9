"""One worker process, from its settings to its exit."""

import asyncio
import signal
from collections.abc import Callable

import structlog
import uvloop

from midsentence import logs
from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence_worker.models import make_model
from midsentence_worker.worker import Worker

_logger = structlog.get_logger()


def run(settings: Settings, name: str, announce_ready: Callable[[], None]) -> None:
    """Answer messages until SIGTERM or SIGINT, and drain. `announce_ready` is called once the model is set up."""
    logs.configure(settings, name)
    uvloop.run(_work(settings, announce_ready))


async def _work(settings: Settings, announce_ready: Callable[[], None]) -> None:
    store, model = Store(settings), make_model(settings)
    worker = Worker(settings, store, model)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)
    _logger.info("working", worker=worker.name, model=model.name, turns=settings.worker_concurrency)
    announce_ready()
    try:
        await worker.run()
    finally:
        await model.aclose()
        await store.aclose()
