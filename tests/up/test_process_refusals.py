"""What several processes cannot start with is refused once, by the command itself, with exit code 2."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from midsentence_server import main as server
from midsentence_worker import main as worker
from tests.support.processes import clean_environment, free_port

Refusal = Callable[..., str]

COMMANDS = {"midsentence-server": server.main, "midsentence-worker": worker.main}


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refusal:
    """Run a command with invalid arguments or settings and return what it writes."""

    def run(command: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [command, *arguments])
        with pytest.raises(SystemExit) as stopped:
            COMMANDS[command]()
        assert stopped.value.code == 2
        out, err = capfd.readouterr()
        assert out == ""
        return err

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_an_invalid_setting_is_reported_once(refusal: Refusal, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSENTENCE_FLUSH_MS", "soon")
    (line,) = refusal(command, "--processes", "3").splitlines()
    assert line.startswith("MIDSENTENCE_FLUSH_MS cannot be used")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_list_of_models_that_cannot_be_used_is_reported_once(
    refusal: Refusal, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = tmp_path / "models.toml"
    models.write_text('[[models]]\nname = "large"\napi = "soap"')
    monkeypatch.setenv("MIDSENTENCE_MODELS", str(models))
    (line,) = refusal(command, "--processes", "3").splitlines()
    assert line.startswith("MIDSENTENCE_MODELS cannot be used: `api` of the model large must be one of")


def test_a_worker_refuses_a_key_whose_variable_is_unset(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server reads the same file and needs no key (tests/units/test_model_list.py)."""
    models = tmp_path / "models.toml"
    models.write_text('[[models]]\nname = "large"\napi_key_env = "KEY_OF_THE_LARGE_MODEL"')
    monkeypatch.setenv("MIDSENTENCE_MODELS", str(models))
    (line,) = refusal("midsentence-worker").splitlines()
    assert "the variable KEY_OF_THE_LARGE_MODEL is not set" in line


def test_a_worker_refuses_an_address_that_its_http_client_cannot_use() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "midsentence_worker.main"],
        capture_output=True, text=True, check=False, env=clean_environment({"OPENAI_BASE_URL": "http://😀.cn/v1"}),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "OPENAI_BASE_URL cannot be used: it is no address. See docs/operations.md.\n"


def test_a_port_that_is_taken_is_reported_once(refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        (line,) = refusal("midsentence-server", "--port", port, "--processes", "3").splitlines()
    assert line == f"Port {port} is taken by another program: stop it, or choose another port with --port."


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("count", ["0", "many"])
def test_a_count_that_is_none_is_refused(refusal: Refusal, command: str, count: str) -> None:
    assert refusal(command, "--processes", count) == (
        f"--processes takes a number from 1 to 256, or `auto` for one on each CPU, but not '{count}'.\n"
    )


def test_processes_that_exit_at_once_are_not_started_again() -> None:
    failing = "from midsentence.launcher import program; program._command = lambda *_: ('/bin/sh', '-c', 'exit 3'); "
    start = "from midsentence_server.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", failing + start, "--port", str(free_port()), "--processes", "2"],
        capture_output=True, text=True, check=False, env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "could not start (exit code 3); what it wrote above says why." in line
