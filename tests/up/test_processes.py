"""`--processes`: several servers on one port, several workers, each under one supervisor."""

import asyncio
import json
import os
import random
import signal
import socket
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.conftest import running as running_stack
from tests.support.answers import Answer, text_for
from tests.support.async_visitor import AsyncVisitor
from tests.support.client import Transcript, Visitor
from tests.support.http_client import Address, exchange
from tests.support.processes import ServerChild, Stack, listens
from tests.support.readers import Reader, wait_for_text
from tests.support.upstream import Upstream
from tests.support.waiting import eventually, wait_until
from tests.up.running import children_of, is_alive, wait_until_replaced

pytestmark = pytest.mark.anyio

SESSIONS = 8
REQUESTERS = 4


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """Two server processes and two worker processes, of which every test leaves two."""
    with Upstream() as upstream:
        settings = {"MIDSENTENCE_LEASE_SECONDS": "2", "MIDSENTENCE_DRAIN_SECONDS": "0.5"}
        directory = tmp_path_factory.mktemp("stack")
        yield from running_stack(Stack(directory, upstream, processes=2, settings=settings))


def lines_of(log: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in log.splitlines())


def server_pids(server: ServerChild) -> dict[str, int]:
    """The name of each server process, and the number of its newest start."""
    return {line["process"]: line["pid"] for line in lines_of(server.recent) if line["event"] == "serving"}


def wait_for_restart(server: ServerChild, pids: dict[str, int]) -> None:
    wait_until(lambda: server_pids(server) != pids, description="the killed process serves again", timeout=40)


async def test_killed_process_costs_no_other_request_and_no_text(shared: Stack) -> None:
    server = shared.servers[0]
    address = Address("127.0.0.1", server.port)
    pids = server_pids(server)
    begun_and_failed: list[tuple[float, OSError]] = []
    is_over = asyncio.Event()

    async def request() -> None:
        while not is_over.is_set():
            begun = time.monotonic()
            try:
                async with exchange(address, "GET", "/healthz", {}, read_timeout=20) as response:
                    assert response.status == 200
            except OSError as error:
                begun_and_failed.append((begun, error))
            await asyncio.sleep(0.01)

    async def read(number: int, transcript: Transcript) -> None:
        visitor = AsyncVisitor(lambda: address, random.Random(number), silence_timeout=20)
        await visitor.get_cookie()
        question = f"tokens=60 rate=30 seed={number}"
        asked = await visitor.request("POST", "/sessions", {"text": question}, key=question)
        transcript.session_id = asked.json["session_id"]
        while not transcript.end():
            await visitor.read_events(
                transcript.session_id,
                transcript.cursor,
                lambda event: transcript.take(event) or event.type == "end",
                until_end=True,
            )

    transcripts = [Transcript("") for _ in range(SESSIONS)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        requesters = [group.create_task(request()) for _ in range(REQUESTERS)]
        readers = [group.create_task(read(number, each)) for number, each in enumerate(transcripts)]
        await eventually(lambda: all(each.answer() for each in transcripts), description="all read", seconds=30)
        os.kill(pids["server 1"], signal.SIGKILL)
        await eventually(lambda: not is_alive(pids["server 1"]), description="the process is dead")
        killed_at = time.monotonic()
        await asyncio.wait(readers)
        await eventually(lambda: server_pids(server) != pids, description="it serves again", seconds=40)
        is_over.set()
        await asyncio.wait(requesters)
    assert [error for _, error in begun_and_failed if isinstance(error, ConnectionRefusedError)] == []
    assert [error for begun, error in begun_and_failed if begun > killed_at] == []
    for number, transcript in enumerate(transcripts):
        expected = "".join(text_for(f"tokens=60 rate=30 seed={number}"))
        assert (transcript.answer(), transcript.end(), transcript.snapshots) == (expected, "stop", 1)
    assert server_pids(server)["server 2"] == pids["server 2"], "the other process must run on"


def test_process_that_stands_still_delays_no_request_for_long(shared: Stack) -> None:
    """The kernel gives its socket a share of the connections; the other process accepts them."""
    server = shared.servers[0]
    pids = server_pids(server)
    os.kill(pids["server 2"], signal.SIGSTOP)
    try:
        for _ in range(12):
            with httpx.Client(base_url=server.base_url, timeout=20) as client:
                assert client.get("/readyz").status_code == 200
    finally:
        os.kill(pids["server 2"], signal.SIGCONT)
    assert server_pids(server) == pids


def test_killed_worker_process_is_replaced_and_its_answer_goes_on(shared: Stack) -> None:
    worker = shared.workers[0]
    pids = children_of(worker.process.pid)
    assert len(pids) == 2
    with Visitor(shared.base_url) as visitor:
        readers = [Reader(visitor, visitor.start(f"tokens=20 rate=20 seed={number}")) for number in range(2)]
        wait_for_text(readers, 1)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for number, reader in enumerate(readers):
            assert reader.wait_for_end(60).answer() == "".join(text_for(f"tokens=20 rate=20 seed={number}"))
    wait_until_replaced(worker.process.pid, pids)


def test_every_line_of_the_log_names_its_process(shared: Stack) -> None:
    server = shared.servers[0]
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")  # uvicorn logs a warning
        assert connection.recv(100)
    wait_until(lambda: "Invalid HTTP request" in server.log, description="uvicorn's warning is in the log")
    for log, kind in ((server.log, "server"), (shared.workers[0].log, "worker")):
        names = {line["process"] for line in lines_of(log)}
        assert names == {f"{kind} 1", f"{kind} 2", f"{kind}s"}


class HalfRequest:
    """A POST whose body is not complete: its process cannot exit before the time to drain is over."""

    HEAD = (
        b"POST /sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )

    def __init__(self, server: ServerChild) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self._socket.sendall(self.HEAD + b'{"text":')
        # The server writes it when it begins to read the body, so the connection is no longer in its queue.
        assert self._socket.recv(1000).startswith(b"HTTP/1.1 100 Continue")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def status(self) -> bytes:
        """Send the rest, and return the status line."""
        self._socket.sendall(b' "Yes"}')
        return self._socket.recv(1000).partition(b"\r\n")[0]


@pytest.fixture
def server(shared: Stack, tmp_path: Path) -> Generator[ServerChild]:
    """Another server in two processes, for this test alone, with much time to drain."""
    server = ServerChild(tmp_path, {**shared.environment, "MIDSENTENCE_DRAIN_SECONDS": "60"}, processes=2)
    server.start()
    yield server
    server.kill()


def test_stopped_server_drains_all_processes_and_closes_its_port(shared: Stack, server: ServerChild) -> None:
    pids = children_of(server.process.pid)
    shared.upstream.answers.append(answer := Answer(["The ", "rest"], gate=True))
    with Visitor(server.base_url) as visitor, HalfRequest(server) as request:
        session_id = visitor.start("Will you stay?")
        with visitor.events(session_id) as events:
            assert next(events).type == "snapshot"
            server.process.terminate()
            assert "end" not in {event.type for event in events}, "a clean close in the middle of the answer"
        wait_until(lambda: not listens(server.port), description="the port is closed")
        assert server.is_running, "the port must close while a request is still served"
        assert request.status() == b"HTTP/1.1 202 Accepted"
        assert server.process.wait(20) == 0
        answer.release_all()
        assert visitor.read(session_id, base_url=shared.base_url).answer() == "The rest"
    assert server.log.count('"draining"') == 2
    assert not any(is_alive(pid) for pid in pids)


def test_second_signal_kills_all_processes(server: ServerChild) -> None:
    pids = children_of(server.process.pid)
    with HalfRequest(server):
        server.process.terminate()
        wait_until(lambda: server.log.count('"draining"') == 2, description="both processes drain")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 130
    assert not any(is_alive(pid) for pid in pids)


def test_stopped_workers_hand_their_turns_over(shared: Stack) -> None:
    """Each process has its time to drain, and the supervisor waits for all."""
    worker = shared.workers[0]
    pids = children_of(worker.process.pid)
    answers = [Answer(["The ", "rest"], gate=True) for _ in range(4)]
    shared.upstream.answers.extend(answers)
    with Visitor(shared.base_url) as visitor:
        readers = [Reader(visitor, visitor.start("Will you stay?")) for _ in answers]
        for answer in answers:
            answer.release(1)
        wait_for_text(readers, 1)
        assert worker.stop() == 0
        assert not any(is_alive(pid) for pid in pids)
        handed_over = sum(line["turns"] for line in lines_of(worker.recent) if line["event"] == "handed_over")
        assert handed_over == len(answers)
        shared.upstream.answers.extend(Answer(["The ", "rest"]) for _ in answers)
        worker.start()
        assert [reader.wait_for_end().answer() for reader in readers] == ["The rest"] * len(answers)
