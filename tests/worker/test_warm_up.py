"""A model that was warmed up loads nothing more: its first answer does not block the event loop."""

import subprocess
import sys
from typing import Any

import pytest
import structlog

from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence_worker.models.base import Finish
from midsentence_worker.models.demo import DemoModel
from midsentence_worker.worker import Worker
from tests.support.model_client import collect, collect_failure, model_at, text_of
from tests.support.upstream import Answer, Upstream

# What blocks the event loop: the audit events of CPython that begin so.
BLOCKING = ("import", "subprocess.", "os.fork", "os.posix_spawn")
APIS = pytest.mark.parametrize("api", ["chat", "responses"])


async def blocking_events_of_first_answer(address: str, api: str) -> list[str]:
    events: list[str] = []
    is_heard = False

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if is_heard and event.startswith(BLOCKING):
            events.append(f"{event} {arguments}")

    sys.addaudithook(hear)
    async with model_at(address, api=api) as model:
        await model.warm_up()
        is_heard = True
        pieces = await collect(model)
        is_heard = False
    assert text_of(pieces) == "One two."
    assert isinstance(pieces[-1], Finish)
    return events


@APIS
def test_first_answer_after_a_warm_up_imports_nothing_and_starts_no_process(upstream: Upstream, api: str) -> None:
    """Measured in a new interpreter, since this one has imported everything."""
    upstream.answers.append(Answer(["One ", "two."]))
    code = (
        "import asyncio\n"
        "from tests.worker.test_warm_up import blocking_events_of_first_answer as found\n"
        f"print(asyncio.run(found({upstream.url!r}, {api!r})))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("[]\n", "")


@APIS
@pytest.mark.anyio
async def test_warm_up_leaves_a_key_that_cannot_be_sent_to_the_turns(api: str) -> None:
    async with model_at("http://127.0.0.1:1/v1", key="ключ", api=api) as model:
        await model.warm_up()
        assert (await collect_failure(model))[1].code == "model_refused_key"


@pytest.mark.anyio
async def test_a_worker_warms_its_model_up_before_it_claims() -> None:
    """Redis is away, so a worker that tried to claim would say so; one that did not warm up would wait for ever."""

    class DrainingModel(DemoModel):
        async def warm_up(self) -> None:
            worker.drain()

    settings = Settings.model_validate({"redis_url": "redis://127.0.0.1:1/0"})
    store = Store(settings)
    worker = Worker(settings, store, {"demo": DrainingModel()})
    with structlog.testing.capture_logs() as logs:
        await worker.run()
    await store.aclose()
    assert [entry["event"] for entry in logs if entry["event"] != "subscription_lost"] == []
