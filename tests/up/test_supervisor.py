import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tests.up.running import Running, StandIns, is_alive, running

RUNS_ON = "exec sleep 600"
DEAF = "trap '' TERM; while :; do sleep 0.05; done"


def slow_to_stop(name: str) -> str:
    return f"trap 'sleep 0.2; echo {name} >> stopped; exit 0' TERM; while :; do sleep 0.02; done"


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path)


def started_again(program: Running, stand_ins: StandIns, name: str) -> int:
    """Kill the child, and give the process id of its next start."""
    starts = stand_ins.starts(name)
    os.kill(starts[-1], signal.SIGKILL)
    wait_until(lambda: len(stand_ins.starts(name)) > len(starts), description=f"{name} runs again")
    assert program.process.poll() is None
    return stand_ins.starts(name)[-1]


def test_a_child_that_exits_is_started_again_and_reported_in_one_line(stand_ins: StandIns) -> None:
    stand_ins.stage(worker=RUNS_ON)
    with running(stand_ins.command(), stand_ins.directory) as program:
        program.wait_for("ready")
        again = started_again(program, stand_ins, "worker")
        assert is_alive(again)
        assert program.err == "midsentence: worker stopped (SIGKILL); it is started again in 0.5 s.\n"


def test_the_delay_grows_with_each_early_exit(stand_ins: StandIns) -> None:
    stand_ins.stage(worker=RUNS_ON)
    with running(stand_ins.command(), stand_ins.directory) as program:
        program.wait_for("ready")
        started_again(program, stand_ins, "worker")
        started_again(program, stand_ins, "worker")
        assert [line.rpartition(" in ")[2] for line in program.err.splitlines()] == ["0.5 s.", "1 s."]


def test_the_exit_of_one_child_leaves_the_others_running(stand_ins: StandIns) -> None:
    stand_ins.stage(store=RUNS_ON)
    stand_ins.stage(server=RUNS_ON, worker=RUNS_ON)
    with running(stand_ins.command(), stand_ins.directory) as program:
        program.wait_for("ready")
        started_again(program, stand_ins, "worker")
        assert [len(stand_ins.starts(name)) for name in ("store", "server")] == [1, 1]
        assert all(is_alive(stand_ins.starts(name)[0]) for name in ("store", "server"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_all_children_and_the_store_last(stand_ins: StandIns, number: signal.Signals) -> None:
    stand_ins.stage(store=slow_to_stop("store"))
    stand_ins.stage(server=slow_to_stop("server"), worker=slow_to_stop("worker"))
    with running(stand_ins.command(), stand_ins.directory) as program:
        program.wait_for("ready")
        program.send(number)
        assert program.exit_code() == 0
    stopped = (stand_ins.directory / "stopped").read_text().split()
    assert sorted(stopped[:2]) == ["server", "worker"]
    assert stopped[2:] == ["store"]
    assert not any(is_alive(pid) for pid in stand_ins.pids)
    assert program.err == ""


def test_a_child_that_does_not_stop_in_time_is_killed(stand_ins: StandIns) -> None:
    stand_ins.stage(0.2, worker=DEAF)
    with running(stand_ins.command(), stand_ins.directory) as program:
        program.wait_for("ready")
        program.send(signal.SIGTERM)
        assert program.exit_code() == 0
    assert program.err == "midsentence: worker has not stopped within 0.2 s and is killed.\n"
    assert not any(is_alive(pid) for pid in stand_ins.pids)


def test_a_second_ctrl_c_kills_all_children_at_once(stand_ins: StandIns) -> None:
    stand_ins.stage(600, store=DEAF)
    stand_ins.stage(600, server=RUNS_ON, worker=DEAF)
    with running(stand_ins.command(), stand_ins.directory) as program:
        program.wait_for("ready")
        program.send(signal.SIGINT)
        wait_until(lambda: not is_alive(stand_ins.starts("server")[0]), description="the first Ctrl-C stops the server")
        program.send(signal.SIGINT)
        assert program.exit_code(timeout=10) == 130
    assert not any(is_alive(pid) for pid in stand_ins.pids)


def test_a_stop_cancels_a_restart_that_is_due(stand_ins: StandIns) -> None:
    stand_ins.stage(worker=RUNS_ON)
    with running(stand_ins.command(), stand_ins.directory) as program:
        program.wait_for("ready")
        os.kill(stand_ins.starts("worker")[0], signal.SIGKILL)
        program.wait_for("it is started again")
        program.send(signal.SIGTERM)
        assert program.exit_code(timeout=5) == 0
    assert len(stand_ins.starts("worker")) == 1


def test_a_child_that_exits_before_all_are_ready_ends_the_start(stand_ins: StandIns) -> None:
    (stand_ins.directory / "not-yet").touch()
    stand_ins.stage(store=RUNS_ON)
    stand_ins.stage(server="sleep 0.2; exit 3", worker=RUNS_ON)
    with running(stand_ins.command(), stand_ins.directory) as program:
        assert program.exit_code() == 2
    assert program.err == "midsentence: server could not start (exit code 3); what it wrote above says why.\n"
    assert not any(is_alive(pid) for pid in stand_ins.pids)


def test_two_children_that_cannot_start_give_one_sentence(stand_ins: StandIns) -> None:
    (stand_ins.directory / "not-yet").touch()
    stand_ins.stage(store="exit 3")
    stand_ins.stage(server="exit 3", worker="exit 3")
    with running(stand_ins.command(), stand_ins.directory) as program:
        assert program.exit_code() == 2
    assert len(program.err.splitlines()) == 1


def test_a_signal_before_all_are_ready_stops_in_order(stand_ins: StandIns) -> None:
    (stand_ins.directory / "not-yet").touch()
    stand_ins.stage(worker=RUNS_ON)
    with running(stand_ins.command(), stand_ins.directory) as program:
        wait_until(lambda: stand_ins.starts("worker"), description="the worker runs")
        program.send(signal.SIGTERM)
        assert program.exit_code() == 0
    assert program.out == ""
    assert not any(is_alive(pid) for pid in stand_ins.pids)


def test_ctrl_c_at_a_terminal_reaches_the_supervisor_alone(stand_ins: StandIns) -> None:
    stand_ins.stage(store=RUNS_ON)
    stand_ins.stage(worker=RUNS_ON)
    with running(stand_ins.command(), stand_ins.directory) as program:
        program.wait_for("ready")
        groups = {os.getpgid(pid) for pid in (program.process.pid, *stand_ins.pids)}
        assert len(groups) == 3


if sys.platform == "linux":  # only Linux can kill a process with its parent

    def test_no_child_outlives_a_killed_supervisor(stand_ins: StandIns) -> None:
        stand_ins.stage(600, store=DEAF)
        stand_ins.stage(600, server=DEAF, worker=RUNS_ON)
        with running(stand_ins.command(), stand_ins.directory) as program:
            program.wait_for("ready")
            again = started_again(program, stand_ins, "worker")
            program.send(signal.SIGKILL)
            program.exit_code()
            wait_until(lambda: not any(is_alive(pid) for pid in stand_ins.pids), description="all children are gone")
            assert not is_alive(again)
