"""The report states what was measured, and which goals were missed."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.report import write, write_page

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
    assert "Of 8 goals that were measured, 2 are met and 6 missed. 12 more were not measured." in report
    assert "p99" not in report


def test_report_names_machine_and_versions_but_no_local_path(docs: Path) -> None:
    (run,) = json.loads((docs / "benchmarks" / "setting.json").read_text())["runs"]
    assert run["machine"]["kernel"]
    assert re.match(r"\d+\.", run["versions"]["Valkey"])
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
    write_page(docs)
    assert {path.name: path.read_bytes() for path in files} == before


def test_goal_is_missed_if_readers_were_refused(report: str) -> None:
    assert "≤ 180: 3 with 12 errors, **missed**" in line(report, "| storm, µs per connect")
    assert "\n- all scenarios, midsentence: errors ≤ 0: 12, **missed**\n" in report


def test_hand_written_text_of_the_page_stays(docs: Path) -> None:
    page = docs / "benchmarks.md"
    generated = page.read_text()
    page.write_text(f"# Title\n\n{generated}\nThe send(2).\n")
    write_page(docs)
    assert page.read_text() == f"# Title\n\n{generated}\nThe send(2).\n"
    page.write_text(generated)


def test_published_page_has_the_figures_of_the_kept_results(tmp_path: Path) -> None:
    published = Path(__file__).parents[2] / "docs"
    kept = tmp_path / "benchmarks"
    kept.mkdir()
    (kept / "results.jsonl").write_bytes((published / "benchmarks" / "results.jsonl").read_bytes())
    page = (published / "benchmarks.md").read_text()
    (tmp_path / "benchmarks.md").write_text(page)
    write_page(tmp_path)
    assert (tmp_path / "benchmarks.md").read_text() == page


def row(scenario: str, contender: str, parameters: Mapping[str, float], **figures: float) -> dict[str, Any]:
    return {
        "scenario": scenario,
        "contender": contender,
        "parameters": parameters,
        "figures": figures,
        "round": 1,
    }


def published(directory: Path, *runs: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Write these runs one after the other; returns the page, and what setting.json has of the runs."""
    for rows in runs:
        results = directory / "run.jsonl"
        results.write_text("".join(json.dumps(line) + "\n" for line in rows))
        write(results, directory / "docs")
    setting = json.loads((directory / "docs" / "benchmarks" / "setting.json").read_text())
    return (directory / "docs" / "benchmarks.md").read_text(), setting["runs"]


def test_partial_run_replaces_only_its_own_scenarios(tmp_path: Path) -> None:
    first = [row("relay", "midsentence", {}, p50_ms=1), row("post", "midsentence", {}, first_token_p50_ms=2)]
    page, runs = published(tmp_path, first, [row("post", "midsentence", {}, first_token_p50_ms=3)])
    assert "| p50, ms | 1 |" in page
    assert "| first token p50, ms | 3 |" in page
    assert [run["scenarios"] for run in runs] == [["relay"], ["post"]]
    page, runs = published(tmp_path, first)
    assert "| first token p50, ms | 2 |" in page
    assert [run["scenarios"] for run in runs] == [["relay", "post"]], "a run without results left is not named"


def test_house_is_judged_by_its_own_shares_of_all_processes(tmp_path: Path) -> None:
    at = {"turns": 50, "rate": 20}
    costs = {"worker_us_per_token": 60, "server_us_per_token": 20, "redis_us_per_token": 20, "late": 0}
    rows = [
        row("house", "midsentence", at, **costs),
        row("house", "resumable-stream", at, worker_us_per_token=190, redis_us_per_token=1),
        row("house", "handwritten", at, worker_us_per_token=500, redis_us_per_token=100, late=7),
    ]
    page, _ = published(tmp_path, rows)
    assert "≤ 70: 60, met" in line(page, "| worker, µs per token | 60 | 190 | 500 |")
    total = line(page, "| total, µs per token | 100 | 191 | 600 |")
    assert "≤ 0.25 × handwritten: 0.17 = 100 / 600, met" in total
    assert "≤ 0.5 × resumable-stream: 0.52 = 100 / 191, **missed**" in total
    assert "≤ 0.33" not in page
    assert "| late | 0 | – | 7 |" in page, "what a contender could not do is not left out"


def test_capacity_is_judged_by_the_least(tmp_path: Path) -> None:
    page, _ = published(tmp_path, [row("capacity", "midsentence", {"turns": 256}, tokens_per_second=11_000)])
    assert "≥ 12,000: 11,000, **missed**" in page
