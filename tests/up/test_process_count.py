import os
import sys
from pathlib import Path

import pytest

from midsentence.errors import CannotStartError
from midsentence.launcher import process_count as module
from midsentence.launcher.process_count import MAX_PROCESSES, available_cpus, process_count


@pytest.fixture(autouse=True)
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the limit of this process's cgroup, which does not exist yet."""
    own = tmp_path / "cgroup"
    own.write_text("1:name=systemd:/\n0::/system.slice/midsentence.service\n")
    monkeypatch.setattr(module, "_OWN_CGROUP", own)
    monkeypatch.setattr(module, "_CGROUPS", tmp_path)
    directory = tmp_path / "system.slice" / "midsentence.service"
    directory.mkdir(parents=True)
    return directory / "cpu.max"


@pytest.fixture(autouse=True)
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def affinity(_pid: int) -> set[int]:
        return {0, 1, 2, 3}

    monkeypatch.setattr(os, "sched_getaffinity", affinity, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.mark.parametrize("given", ["1", "2", "256"])
def test_a_number_of_processes_is_taken(given: str) -> None:
    assert process_count("--workers", given) == int(given)


@pytest.mark.parametrize("given", ["0", "-1", "257", "1.5", "", "two", "²", "1e2", "AUTO"])
def test_any_other_number_is_refused_by_one_sentence(given: str) -> None:
    with pytest.raises(CannotStartError) as refused:
        process_count("--workers", given)
    assert str(refused.value) == (
        f"--workers takes a number from 1 to 256, or `auto` for one on each CPU, but not {given!r}."
    )


def test_auto_is_one_process_for_each_cpu_that_may_be_used() -> None:
    assert process_count("--workers", "auto") == 4


def test_auto_stays_below_the_most_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def affinity(_pid: int) -> set[int]:
        return set(range(1000))

    monkeypatch.setattr(os, "sched_getaffinity", affinity)
    assert process_count("--workers", "auto") == MAX_PROCESSES


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [("200000 100000", 2), ("50000 100000", 1), ("800000 100000", 4), ("max 100000", 4), ("", 4), ("100000 0", 4)],
)
def test_the_limit_of_a_container_is_respected(cgroup: Path, limit: str, cpus: int) -> None:
    cgroup.write_text(f"{limit}\n")
    assert available_cpus() == cpus


def test_a_system_without_affinity_counts_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert available_cpus() == 3
