"""The time from POST to 202, and from POST to the first token of a model that answers at once."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from bench import cpu
from bench.child import BenchError
from bench.contender import Contender, python
from bench.contenders.midsentence import Midsentence
from bench.percentiles import percentiles
from bench.scenario import Outcome, Scenario, Setting
from tests.support.processes import Child, WorkerChild, free_port, listens
from tests.support.waiting import wait_until

_WARM_UP = 20
_TIMEOUT_SECONDS = 10
# The snapshot has the question too; only an answer has one of these.
_SIGNS = (b"event: delta", b'"role":"assistant"')


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    assert isinstance(contender, Midsentence)  # noqa: S101 - see SCENARIO
    directory = setting.fresh()
    times = setting.many(300, 20)
    with contender.running(directory), _answering(contender, directory):
        _ask(contender, _WARM_UP)
        before = cpu.spent_ns(contender.server_pids)
        asked = _ask(contender, times)
        spent = cpu.spent_ns(contender.server_pids) - before
    accepted, token = zip(*asked, strict=True)
    accepted_p50, accepted_p99 = percentiles(accepted, 50, 99)
    token_p50, token_p99 = percentiles(token, 50, 99)
    figures = {
        "accepted_p50_ms": accepted_p50,
        "accepted_p99_ms": accepted_p99,
        "first_token_p50_ms": token_p50,
        "first_token_p99_ms": token_p99,
        "server_us_per_question": spent / 1000 / times,
    }
    yield Outcome({"questions": times}, figures)


@contextmanager
def _answering(contender: Midsentence, directory: Path) -> Generator[None]:
    """Run a worker with the tests' scripted model, which echoes the question without a delay."""
    port = free_port()
    upstream = Child(python("tests.support.upstream", "--port", str(port)), directory / "upstream.log")
    settings = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "none"}
    worker = WorkerChild(directory, {**contender.environment, **settings})
    children = (upstream, worker)
    try:
        with cpu.pinned_to(cpu.REST):
            for child in children:
                child.spawn()
        wait_until(lambda: listens(port), description="the model listens")
        worker.wait()
        yield
    finally:
        for child in children:
            child.stop()


def _ask(contender: Contender, times: int) -> list[tuple[float, float]]:
    """Ask one question after the other: milliseconds from POST to 202, and from POST to the answer's first token."""
    headers = dict(line.split(": ", 1) for line in contender.headers())
    port = contender.ports[0]
    asked: list[tuple[float, float]] = []
    # Two connections that stay open, as in a browser.
    with (
        closing(HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)) as posting,
        closing(HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)) as reading,
    ):
        for number in range(times):
            begun = time.monotonic()
            body = json.dumps({"text": f"Question {number}"})
            posting.request("POST", "/sessions", body, {**headers, "Content-Type": "application/json"})
            url = json.load(posting.getresponse())["events_url"]
            accepted = time.monotonic()
            reading.request("GET", f"{url}?until=end", headers=headers)
            response = reading.getresponse()
            while not _has_token(response.readline()):
                pass
            asked.append(((accepted - begun) * 1000, (time.monotonic() - begun) * 1000))
            response.read()
    return asked


def _has_token(line: bytes) -> bool:
    if not line:
        raise BenchError("the answer ended without a token")
    return any(sign in line for sign in _SIGNS)


SCENARIO = Scenario("post", run, ("midsentence",))
