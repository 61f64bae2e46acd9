"""The report states what was measured, and which goals were missed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.report import write

STREAM = {"sessions": 200, "readers": 1, "rate": 50, "flush_ms": 0, "servers": 1}
# For each round: what a token costs the server, and Redis.
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
            # A percentile of nothing is not written: there is no p99.
            figures = {"server_us_per_token": server, "p50_ms": 0.4, "missing": 0, "odd_things": 7}
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
    parameters = {"staying": 1}
    yield {"scenario": "storm", "contender": "midsentence", "parameters": parameters, "figures": figures, "round": 1}
    for contender, size in IDLE.items():
        figures = {"bytes_per_connection": size}
        yield {"scenario": "idle", "contender": contender, "parameters": {}, "figures": figures, "round": 1}


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bench")
    results = directory / "results.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in measurements()))
    write(results, directory / "docs")
    return directory / "docs"


@pytest.fixture(scope="module")
def report(docs: Path) -> str:
    return (docs / "benchmarks.md").read_text()


def line(report: str, beginning: str) -> str:
    """The first line that begins so: relay is the first scenario of the table."""
    return next(line for line in report.splitlines() if line.startswith(beginning))


def test_table_has_medians_and_ranges_of_the_rounds(report: str) -> None:
    assert line(report, "| server, µs per token").startswith("| server, µs per token | 28 (27–32) | 35 (30–40) | 100 |")
    total = line(report, "| total, µs per token")
    assert "| 47 (46–53) |" in total, "the sum is made within each round"


def test_unknown_figure_is_reported_under_its_own_name(report: str) -> None:
    assert "| odd things | 7 | 7 | 7 |" in report


def test_goal_is_judged_by_the_ratio_of_the_medians(report: str) -> None:
    server = line(report, "| server, µs per token")
    assert "≤ 0.75 × nchan: 0.80 (0.70–0.91) = 28 / 35, **missed**" in server
    assert "≤ 0.33 × handwritten: 0.28 (0.27–0.32) = 28 / 100, met" in server
    both = line(report, "| server and redis, µs per token")
    assert "≤ 1 × nchan: " in both
    assert "= 37 / 35, **missed**" in both


def test_missed_goal_is_in_the_row_the_count_and_the_list(report: str) -> None:
    assert "| ≤ 8,192: 9,000, **missed** |" in line(report, "| bytes per connection")
    # ¾ of Nchan, Nchan with Valkey, 8 KB, readers refused (twice), a third of the hand-written relay with all of it.
    assert "6 missed" in report
    assert "\n- idle, midsentence: bytes per connection ≤ 8,192: 9,000, **missed**\n" in report


def test_unmeasured_goal_is_not_counted_as_met(report: str) -> None:
    assert "Of 8 goals that this run measured, 2 are met and 6 missed. It did not measure 6 more." in report
    assert "p99" not in report


def test_report_names_machine_and_versions_but_no_local_path(docs: Path) -> None:
    setting = json.loads((docs / "benchmarks" / "setting.json").read_text())
    assert setting["machine"]["kernel"]
    assert re.match(r"\d+\.", setting["versions"]["Valkey"])
    for path in (docs / "benchmarks.md", *(docs / "benchmarks").iterdir()):
        text = path.read_text()
        assert str(docs.parent) not in text, path.name
        assert str(Path(__file__).parents[2]) not in text, path.name


def test_report_from_kept_results_is_identical_to_the_byte(docs: Path) -> None:
    """The plots too, or a change of them could not be reviewed."""
    files = [docs / "benchmarks.md", *(docs / "benchmarks").iterdir()]
    names = {path.name for path in files[1:]}
    assert names == {"cpu.svg", "latency.svg", "memory.svg", "results.jsonl", "setting.json"}
    before = {path.name: path.read_bytes() for path in files}
    write(docs / "benchmarks" / "results.jsonl", docs)
    assert {path.name: path.read_bytes() for path in files} == before


def test_goal_is_missed_if_readers_were_refused(report: str) -> None:
    assert "≤ 180: 3 with 12 errors, **missed**" in line(report, "| storm, µs per connect")
    assert "\n- all scenarios, midsentence: errors ≤ 0: 12, **missed**\n" in report


def test_hand_written_text_of_the_page_stays(docs: Path) -> None:
    page = docs / "benchmarks.md"
    generated = page.read_text()
    page.write_text(f"# Title\n\n{generated}\nThe send(2).\n")
    write(docs / "benchmarks" / "results.jsonl", docs)
    assert page.read_text() == f"# Title\n\n{generated}\nThe send(2).\n"
    page.write_text(generated)


def test_published_page_has_the_figures_of_the_kept_results(tmp_path: Path) -> None:
    published = Path(__file__).parents[2] / "docs"
    kept = tmp_path / "benchmarks"
    kept.mkdir()
    (kept / "results.jsonl").write_bytes((published / "benchmarks" / "results.jsonl").read_bytes())
    page = (published / "benchmarks.md").read_text()
    (tmp_path / "benchmarks.md").write_text(page)
    write(kept / "results.jsonl", tmp_path)
    assert (tmp_path / "benchmarks.md").read_text() == page
