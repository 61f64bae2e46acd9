"""The report says what was measured, and of a goal that is missed that it is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.report import write

STREAM = {"sessions": 200, "readers": 1, "rate": 50, "flush_ms": 0, "servers": 1}
# Of each round: what a token costs the server, and Redis.
RELAY = {
    "nchan": [(30.0, 0.0), (40.0, 0.0), (35.0, 0.0)],
    "midsentence": [(27.0, 9.0), (28.0, 9.0), (32.0, 11.0)],
    "handwritten": [(100.0, 20.0)] * 3,
}
IDLE = {"midsentence": 9000.0, "nchan": 10_400.0}


def measurements() -> Iterator[dict[str, Any]]:
    for number in (1, 2, 3):
        for contender, rounds in RELAY.items():
            server, redis = rounds[number - 1]
            figures = {"server_us_per_token": server, "p50_ms": 0.4, "p99_ms": None, "missing": 0, "odd_things": 7}
            if redis:
                figures |= {"redis_us_per_token": redis, "append_us_per_token": 10.0}
            yield {
                "scenario": "relay",
                "contender": contender,
                "parameters": STREAM,
                "figures": figures,
                "round": number,
            }
    figures = {"storm_us_per_connect": 3.0, "refused": 12}
    yield {"scenario": "storm", "contender": "midsentence", "parameters": {}, "figures": figures, "round": 1}
    for contender, size in IDLE.items():
        figures = {"bytes_per_connection": size}
        yield {"scenario": "idle", "contender": contender, "parameters": {}, "figures": figures, "round": 1}


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bench")
    results = directory / "results.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in measurements()))
    (directory / "docs" / "benchmarks").mkdir(parents=True)
    (directory / "docs" / "benchmarks" / "findings.md").write_text("## Where the floor is\n\nThe send(2).\n")
    write(results, directory / "docs")
    return directory / "docs"


@pytest.fixture(scope="module")
def report(docs: Path) -> str:
    return (docs / "benchmarks.md").read_text()


def line(report: str, beginning: str) -> str:
    [found] = [line for line in report.splitlines() if line.startswith(f"| {beginning}")]
    return found


def test_a_table_holds_medians_and_what_the_rounds_lie_between(report: str) -> None:
    midsentence = line(report, "midsentence | 28")
    assert "| 28 (27–32) |" in midsentence
    assert "| 47 (46–53) |" in midsentence, "the sum of the three is made within each round"


def test_a_figure_that_nobody_knows_is_reported_under_its_own_name(report: str) -> None:
    assert "| odd things |" in report


def test_a_goal_is_judged_by_the_ratio_of_the_medians(report: str) -> None:
    assert "| 0.80 (0.70–0.91) = 28 / 35 | **no** |" in line(report, "relay 1:1, server alone")
    assert "= 37 / 35 | **no** |" in line(report, "relay 1:1, Valkey's share")
    assert "| 0.28 (0.27–0.32) = 28 / 100 | yes |" in line(report, "relay: server, µs a token")


def test_a_goal_that_is_missed_is_said_to_be_missed(report: str) -> None:
    """In its line, in the count, and in the list of what is not reached."""
    assert "| 9,000 | **no** |" in line(report, "memory of an idle connection")
    # ¾ of Nchan, Nchan with Valkey, 8 KB, readers refused (twice), a third of the hand-written relay with all of it.
    assert "6 missed" in report
    assert "\n- memory of an idle connection: at most 8 KB (8,192 bytes): 9,000\n" in report


def test_what_was_not_measured_is_not_said_to_be_met(report: str) -> None:
    assert line(report, "fan-out, server alone").endswith("| – | not measured |")
    assert line(report, "relay 1:1, p99").endswith("| – | not measured |"), "a percentile of nothing is null"


def test_it_tells_the_machine_and_the_versions_and_no_place_on_it(docs: Path, report: str) -> None:
    assert "| kernel | " in report
    assert re.search(r"\| Valkey \| \d+\.", report)
    for path in (docs / "benchmarks.md", *(docs / "benchmarks").iterdir()):
        text = path.read_text()
        assert str(docs.parent) not in text, path.name
        assert str(Path(__file__).parents[2]) not in text, path.name


def test_it_is_made_again_from_what_it_kept_to_the_byte(docs: Path) -> None:
    """The pictures too: one that differs each time could not be reviewed."""
    files = [docs / "benchmarks.md", *(docs / "benchmarks").iterdir()]
    names = {path.name for path in files[1:]}
    assert names == {"cpu.svg", "latency.svg", "memory.svg", "results.jsonl", "setting.json", "findings.md"}
    before = {path.name: path.read_bytes() for path in files}
    write(docs / "benchmarks" / "results.jsonl", docs)
    assert {path.name: path.read_bytes() for path in files} == before


def test_a_goal_is_not_met_by_sending_readers_away(report: str) -> None:
    assert "| 3, with 12 amiss | **no** |" in line(report, "CPU of a reconnect")
    assert "| 12 amiss | **no** |" in line(report, "nobody refused or lost")


def test_what_was_found_out_by_hand_is_taken_up(report: str) -> None:
    assert "\n## Where the floor is\n" in report
