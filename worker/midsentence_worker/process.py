"""One worker process, from its settings to its exit."""

import asyncio
import signal
from collections.abc import Callable

import structlog
import uvloop

from midsentence import logs
from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence_worker.models import make_models
from midsentence_worker.worker import Worker

_logger = structlog.get_logger()


def run(settings: Settings, name: str, announce_ready: Callable[[], None]) -> None:
    """Answer messages until SIGTERM or SIGINT, and drain. `announce_ready` is called once the models are set up."""
    logs.configure(settings, name)
    uvloop.run(_work(settings, announce_ready))


async def _work(settings: Settings, announce_ready: Callable[[], None]) -> None:
    store, models = Store(settings), make_models(settings)
    worker = Worker(settings, store, models)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)
    _logger.info("working", worker=worker.name, models=[*models], turns=settings.worker_concurrency)
    announce_ready()
    try:
        await worker.run()
    finally:
        await asyncio.gather(*(model.aclose() for model in models.values()))
        await store.aclose()
