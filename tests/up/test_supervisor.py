import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tests.up.running import Running, ShellChildren, is_alive, running

RUNS_ON = "exec sleep 600"
DEAF = "trap '' TERM; while :; do sleep 0.05; done"


def slow_to_stop(name: str) -> str:
    return f"trap 'sleep 0.2; echo {name} >> stopped; exit 0' TERM; while :; do sleep 0.02; done"


@pytest.fixture
def children(tmp_path: Path) -> ShellChildren:
    return ShellChildren(tmp_path)


def restarted(program: Running, children: ShellChildren, name: str) -> int:
    """Kill the child and return the process id of its next start."""
    starts = children.starts(name)
    os.kill(starts[-1], signal.SIGKILL)
    wait_until(lambda: len(children.starts(name)) > len(starts), description=f"{name} runs again")
    assert program.process.poll() is None
    return children.starts(name)[-1]


def test_a_child_that_exits_is_restarted_and_reported(children: ShellChildren) -> None:
    children.stage(worker=RUNS_ON)
    with running(children.command(), children.directory) as program:
        program.wait_for("ready")
        again = restarted(program, children, "worker")
        assert is_alive(again)
        assert program.err == "midsentence: worker stopped (SIGKILL); it is started again in 0.5 s.\n"


def test_the_delay_grows_with_each_early_exit(children: ShellChildren) -> None:
    children.stage(worker=RUNS_ON)
    with running(children.command(), children.directory) as program:
        program.wait_for("ready")
        restarted(program, children, "worker")
        restarted(program, children, "worker")
        assert [line.rpartition(" in ")[2] for line in program.err.splitlines()] == ["0.5 s.", "1 s."]


def test_the_exit_of_one_child_leaves_the_others_running(children: ShellChildren) -> None:
    children.stage(store=RUNS_ON)
    children.stage(server=RUNS_ON, worker=RUNS_ON)
    with running(children.command(), children.directory) as program:
        program.wait_for("ready")
        restarted(program, children, "worker")
        assert [len(children.starts(name)) for name in ("store", "server")] == [1, 1]
        assert all(is_alive(children.starts(name)[0]) for name in ("store", "server"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_all_children_and_the_store_last(children: ShellChildren, number: signal.Signals) -> None:
    children.stage(store=slow_to_stop("store"))
    children.stage(server=slow_to_stop("server"), worker=slow_to_stop("worker"))
    with running(children.command(), children.directory) as program:
        program.wait_for("ready")
        program.send(number)
        assert program.exit_code() == 0
    stopped = (children.directory / "stopped").read_text().split()
    assert sorted(stopped[:2]) == ["server", "worker"]
    assert stopped[2:] == ["store"]
    assert not any(is_alive(pid) for pid in children.pids)
    assert program.err == ""


def test_a_child_that_does_not_stop_in_time_is_killed(children: ShellChildren) -> None:
    children.stage(0.2, worker=DEAF)
    with running(children.command(), children.directory) as program:
        program.wait_for("ready")
        program.send(signal.SIGTERM)
        assert program.exit_code() == 0
    assert program.err == "midsentence: worker has not stopped within 0.2 s and is killed.\n"
    assert not any(is_alive(pid) for pid in children.pids)


def test_a_second_ctrl_c_kills_all_children_at_once(children: ShellChildren) -> None:
    children.stage(600, store=DEAF)
    children.stage(600, server=RUNS_ON, worker=DEAF)
    with running(children.command(), children.directory) as program:
        program.wait_for("ready")
        program.send(signal.SIGINT)
        wait_until(lambda: not is_alive(children.starts("server")[0]), description="the first Ctrl-C stops the server")
        program.send(signal.SIGINT)
        assert program.exit_code(timeout=10) == 130
    assert not any(is_alive(pid) for pid in children.pids)


def test_a_stop_cancels_a_restart_that_is_due(children: ShellChildren) -> None:
    children.stage(worker=RUNS_ON)
    with running(children.command(), children.directory) as program:
        program.wait_for("ready")
        os.kill(children.starts("worker")[0], signal.SIGKILL)
        program.wait_for("it is started again")
        program.send(signal.SIGTERM)
        assert program.exit_code(timeout=5) == 0
    assert len(children.starts("worker")) == 1


def test_a_child_that_exits_before_all_are_ready_ends_the_start(children: ShellChildren) -> None:
    (children.directory / "not-yet").touch()
    children.stage(store=RUNS_ON)
    children.stage(server="sleep 0.2; exit 3", worker=RUNS_ON)
    with running(children.command(), children.directory) as program:
        assert program.exit_code() == 2
    assert program.err == "midsentence: server could not start (exit code 3); what it wrote above says why.\n"
    assert not any(is_alive(pid) for pid in children.pids)


def test_two_children_that_cannot_start_give_one_sentence(children: ShellChildren) -> None:
    (children.directory / "not-yet").touch()
    children.stage(store="exit 3")
    children.stage(server="exit 3", worker="exit 3")
    with running(children.command(), children.directory) as program:
        assert program.exit_code() == 2
    assert len(program.err.splitlines()) == 1


def test_a_signal_before_all_are_ready_stops_in_order(children: ShellChildren) -> None:
    (children.directory / "not-yet").touch()
    children.stage(worker=RUNS_ON)
    with running(children.command(), children.directory) as program:
        wait_until(lambda: children.starts("worker"), description="the worker runs")
        program.send(signal.SIGTERM)
        assert program.exit_code() == 0
    assert program.out == ""
    assert not any(is_alive(pid) for pid in children.pids)


def test_ctrl_c_at_a_terminal_reaches_the_supervisor_alone(children: ShellChildren) -> None:
    children.stage(store=RUNS_ON)
    children.stage(worker=RUNS_ON)
    with running(children.command(), children.directory) as program:
        program.wait_for("ready")
        groups = {os.getpgid(pid) for pid in (program.process.pid, *children.pids)}
        assert len(groups) == 3


if sys.platform == "linux":  # only Linux can kill a process with its parent

    def test_no_child_outlives_a_killed_supervisor(children: ShellChildren) -> None:
        children.stage(600, store=DEAF)
        children.stage(600, server=DEAF, worker=RUNS_ON)
        with running(children.command(), children.directory) as program:
            program.wait_for("ready")
            again = restarted(program, children, "worker")
            program.send(signal.SIGKILL)
            program.exit_code()
            wait_until(lambda: not any(is_alive(pid) for pid in children.pids), description="all children are gone")
            assert not is_alive(again)
