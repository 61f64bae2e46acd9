"""`scripts/topology`, as a process."""

import os
import signal
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.client import Visitor
from tests.support.upstream import text_for
from tests.support.waiting import wait_until
from tests.topology.running import Running, is_alive, refused, topology
from tools import topology as program

QUESTION = "tokens=40 rate=200 seed=3"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    arguments = ("--servers", "2", "--workers", "1", "--upstream", "scripted")
    with topology(tmp_path_factory.mktemp("topology"), *arguments) as started:
        yield started


@pytest.mark.needs_nginx
def test_topology_prints_its_address_and_processes(running: Running) -> None:
    assert running.output.startswith(f"{running.base_url}\nscripted answers.\n")
    names = {"valkey", "server1", "server2", "worker1", "upstream", "nginx"}
    assert {name for name, row in running.table.items() if is_alive(row.pid)} == names


@pytest.mark.needs_nginx
def test_the_scripted_model_answers_through_nginx(running: Running) -> None:
    with Visitor(running.base_url) as visitor:
        transcript = visitor.read(visitor.start(QUESTION))
    assert transcript.answer() == "".join(text_for(QUESTION))


@pytest.mark.needs_nginx
def test_a_killed_process_is_restarted(running: Running) -> None:
    """Its printed process ids are what a user kills to try a fault."""
    os.kill(running.table["worker1"].pid, signal.SIGKILL)
    wait_until(
        lambda: "worker1 stopped (SIGKILL); it is started again" in running.output,
        description="the restart is reported",
    )
    with Visitor(running.base_url) as visitor:
        transcript = visitor.read(visitor.start(QUESTION))
    assert transcript.answer() == "".join(text_for(QUESTION))


@pytest.mark.needs_nginx
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_process(tmp_path: Path, number: signal.Signals) -> None:
    with topology(tmp_path, "--servers", "1", "--workers", "1") as started:
        pids = [row.pid for row in started.table.values()]
        assert started.stop(number) == 0
    assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.needs_nginx
def test_a_taken_port_is_reported_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused("--port", str(port))
    assert error == (
        f"topology: Port {port} is taken by another program: stop it, or choose another port with --port.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--bogus",), "unrecognized arguments: --bogus"),
        (("--port", "x"), "argument --port: 'x' is not a number from 1 to 65535"),
        (("--servers", "0"), "argument --servers: '0' is not a number from 1 to 64"),
        (("--upstream", "real"), "argument --upstream: invalid choice: 'real' (choose from 'scripted')"),
    ],
)
def test_an_invalid_option_is_reported_in_one_sentence(arguments: tuple[str, ...], reason: str) -> None:
    assert refused(*arguments) == f"topology: {reason}; `scripts/topology --help` says what it takes.\n"


def test_a_missing_nginx_is_reported_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def not_found(*_names: str) -> None: ...

    monkeypatch.setattr(program, "program", not_found)
    monkeypatch.setattr("sys.argv", ["scripts/topology"])
    with pytest.raises(SystemExit) as exited:
        program.main()
    assert exited.value.code == 2
    assert capfd.readouterr().err == (
        "topology: nginx is missing: install it (on Debian and Ubuntu: apt install nginx-light).\n"
    )
