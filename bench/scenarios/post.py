"""The time from POST to 202, and from POST to the first token of a provider that answers at once."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPResponse

from bench import cpu
from bench.child import BenchError
from bench.contender import Contender
from bench.house import House, ScriptedProvider
from bench.houses import HOUSES
from bench.percentiles import percentiles
from bench.scenario import Outcome, Scenario, Setting
from bench.tokens import TOKEN

_WARM_UP = 20
_CONCURRENCY = 64


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    times = setting.many(300, 20)
    yield Outcome({"questions": times}, measure(HOUSES[contender.name](), setting, times))


def measure(house: House, setting: Setting, times: int) -> dict[str, float]:
    directory = setting.fresh()
    directory.mkdir(parents=True)
    with ScriptedProvider(directory) as provider, house.running(directory, provider.url, _CONCURRENCY):
        _ask(house, _WARM_UP)
        before = {part: cpu.spent_ns(pids) for part, pids in house.pids.items() if pids}
        asked = _ask(house, times)
        spent = {f"{part}_us_per_question": cpu.spent_ns(house.pids[part]) - ns for part, ns in before.items()}
    accepted, token = zip(*asked, strict=True)
    accepted_p50, accepted_p99 = percentiles(accepted, 50, 99)
    token_p50, token_p99 = percentiles(token, 50, 99)
    return {
        "accepted_p50_ms": accepted_p50,
        "accepted_p99_ms": accepted_p99,
        "first_token_p50_ms": token_p50,
        "first_token_p99_ms": token_p99,
        **{figure: ns / 1000 / times for figure, ns in spent.items()},
    }


def _ask(house: House, times: int) -> list[tuple[float, float]]:
    """Ask one question after the other: milliseconds from POST to the response, and to the answer's first token."""
    asked: list[tuple[float, float]] = []
    # Two connections that stay open, as in a browser.
    with closing(house.connection()) as posting, closing(house.connection()) as reading:
        for number in range(times):
            begun = time.monotonic()
            response = house.post(posting, f"Question {number}")
            accepted = time.monotonic()
            if not house.streams_from_post:
                reading.request(
                    "GET", f"{json.load(response)['events_url']}{house.until_end}", headers={**house.headers}
                )
                response = reading.getresponse()
            _find_token(response)
            asked.append(((accepted - begun) * 1000, (time.monotonic() - begun) * 1000))
            response.read()
    return asked


def _find_token(response: HTTPResponse) -> None:
    while line := response.readline():
        if TOKEN.search(line):
            return
    raise BenchError("the answer ended without a token")


SCENARIO = Scenario("post", run, tuple(HOUSES))
