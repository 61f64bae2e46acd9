"""The harness itself, small and with midsentence alone: what it counts, and what it writes down."""

import math
import os
import subprocess
import time
from pathlib import Path

import pytest

from bench import cpu, results
from bench.contenders.midsentence import Midsentence
from bench.percentiles import percentiles
from bench.results import Measurement
from bench.streaming import Stream, measure


def test_every_token_is_delivered_once_and_every_cost_is_a_figure(tmp_path: Path) -> None:
    stream = Stream(sessions=5, readers=2, rate=20, seconds=1, warm_up=0.2)
    figures = measure(Midsentence(), stream, tmp_path / "house")
    for name in ("missing", "duplicates", "lost", "refused"):
        assert figures.pop(name) == 0, name
    # The window is not cut at a token's edge.
    assert figures["delivered"] == pytest.approx(stream.sessions * stream.readers * stream.rate, rel=0.2)
    assert {name for name, value in figures.items() if value <= 0} == set()
    assert {"server_us_per_token", "redis_us_per_token", "append_us_per_token", "p50_ms", "p99_ms"} <= set(figures)


def test_measurements_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written = [Measurement("relay", "midsentence", number, {"sessions": 5}, {"p50_ms": 0.25}) for number in (1, 2)]
    for measurement in written:
        results.append(path, measurement)
    assert list(results.read(path)) == written


def test_cpu_time_is_what_the_process_itself_knows_of() -> None:
    """The clocks of other processes, read through the same call, have no such witness."""
    before, witness = cpu.spent_ns([os.getpid()]), time.process_time_ns()
    sum(range(2_000_000))
    after, later = cpu.spent_ns([os.getpid()]), time.process_time_ns()
    assert later - witness == pytest.approx(after - before, rel=0.1)


def test_what_is_started_on_a_cpu_stays_there() -> None:
    free = os.sched_getaffinity(0)
    with cpu.on(cpu.SERVERS):
        child = subprocess.Popen(["sleep", "60"])
    try:
        assert os.sched_getaffinity(child.pid) == {cpu.SERVERS}
        assert os.sched_getaffinity(0) == free
    finally:
        child.kill()
        child.wait()


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles(range(1, 101), 50, 99, 100) == [50, 99, 100]
    assert percentiles([7], 50, 99.9) == [7, 7]
    assert all(math.isnan(value) for value in percentiles([], 50, 99))
