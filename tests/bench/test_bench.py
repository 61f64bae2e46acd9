"""The harness itself, small and with midsentence alone: its counts and its results file."""

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


def test_tokens_are_delivered_once_and_costs_are_measured(tmp_path: Path) -> None:
    stream = Stream(sessions=5, readers=2, rate=20, seconds=1, warm_up=0.2)
    figures = measure(Midsentence(), stream, tmp_path / "run")
    for name in ("missing", "duplicates", "lost", "refused"):
        assert figures.pop(name) == 0, name
    # A window may begin and end between a token's stamp and its delivery.
    assert figures["delivered"] == pytest.approx(stream.sessions * stream.readers * stream.rate, rel=0.2)
    assert {name for name, value in figures.items() if value <= 0} == set()
    assert {"server_us_per_token", "redis_us_per_token", "append_us_per_token", "p50_ms", "p99_ms"} <= set(figures)


def test_measurements_survive_the_results_file(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written = [Measurement("relay", "midsentence", number, {"sessions": 5}, {"p50_ms": 0.25}) for number in (1, 2)]
    for measurement in written:
        results.append(path, measurement)
    assert list(results.read(path)) == written


def test_cpu_time_agrees_with_process_time() -> None:
    """Checked for this process: the same call reads the clocks of the others, which have no second source."""
    before, witness = cpu.spent_ns([os.getpid()]), time.process_time_ns()
    sum(range(2_000_000))
    after, later = cpu.spent_ns([os.getpid()]), time.process_time_ns()
    assert later - witness == pytest.approx(after - before, rel=0.1)


def test_pinned_process_stays_on_its_cpu() -> None:
    free = os.sched_getaffinity(0)
    with cpu.pinned_to(cpu.SERVERS):
        child = subprocess.Popen(["sleep", "60"])
    try:
        assert os.sched_getaffinity(child.pid) == {cpu.SERVERS}
        assert os.sched_getaffinity(0) == free
    finally:
        child.kill()
        child.wait()


def test_percentiles_are_measured_values() -> None:
    assert percentiles(range(1, 101), 50, 99, 100) == [50, 99, 100]
    assert percentiles([7], 50, 99.9) == [7, 7]
    assert all(math.isnan(value) for value in percentiles([], 50, 99))
