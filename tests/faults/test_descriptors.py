"""A server at its limit of file descriptors: each client gets an answer, and none is cut off."""

import functools
import re
import socket
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from tests.conftest import running
from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

# The server keeps 32 of them for other things than streams.
LIMIT, RESERVED = 128, 32
CLIENTS = 200


@pytest.fixture
def stack(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    stack = Stack(tmp_path, upstream, workers=0)
    stack.servers[0].limit_open_files(LIMIT // 2, LIMIT)
    yield from running(stack)


class Client:
    """One connection, byte by byte."""

    def __init__(self, stack: Stack) -> None:
        self._socket = socket.create_connection(("127.0.0.1", stack.servers[0].port), 20)
        self._responses = ExitStack()

    def send(self, *lines: str) -> None:
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def response(self) -> HTTPResponse:
        """Its status and headers; raises where the connection was closed without an answer."""
        response = self._responses.enter_context(HTTPResponse(self._socket))
        response.begin()
        return response

    def close(self) -> None:
        self._responses.close()
        self._socket.close()


@contextmanager
def clients(stack: Stack, count: int, *request: str) -> Generator[list[Client]]:
    """Clients that connect and send this at once, one after the other."""
    connected: list[Client] = []
    with ExitStack() as opened:
        for _ in range(count):
            connected.append(Client(stack))
            opened.callback(connected[-1].close)
            connected[-1].send(*request)
        yield connected


def stream_request(visitor: Visitor, session_id: str) -> tuple[str, ...]:
    cookie = f"Cookie: midsentence={visitor.http.cookies['midsentence']}"
    return f"GET /sessions/{session_id}/events HTTP/1.1", "Host: midsentence.test", cookie, ""


def retries(responses: Iterable[HTTPResponse]) -> list[int]:
    """The delays by which streams were refused; checks each refusal (8.16)."""
    delays: list[int] = []
    for response in responses:
        body = response.read().decode()
        (delay,) = re.findall(r"^retry: (\d+)$", body, re.MULTILINE)
        assert body.endswith("\n\n")
        assert "event:" not in body
        delays.append(int(delay))
    return delays


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def open_files(stack: Stack) -> int:
    """The soft limit of the running server."""
    (line,) = re.findall(r'"open_files": (\d+)', stack.servers[0].log)
    return int(line)


def test_full_server_refuses_streams_with_retry_and_answers_everything_else(stack: Stack) -> None:
    """8.16, and section 9: no connection is closed without an answer, and `/readyz` shows it until streams end."""
    server = stack.servers[0]
    assert open_files(stack) == LIMIT, "the server raises its soft limit to the hard one"
    with Visitor(stack.base_url) as visitor:
        session_id = visitor.start("Is there room?")
        with clients(stack, CLIENTS, *stream_request(visitor, session_id)) as connected:
            responses = [client.response() for client in connected]
            for response in responses:
                assert response.status == 200
                assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            # An open stream has no length.
            refused = retries(response for response in responses if response.length is not None)
            assert LIMIT - RESERVED - 50 < CLIENTS - len(refused) <= LIMIT - RESERVED
            assert len(set(refused)) > len(refused) / 2, "the retry delays must be spread"
            with Visitor(stack.base_url) as latecomer:
                assert code(latecomer.http.get("/readyz")) == (503, "full")
                assert latecomer.http.get("/healthz").status_code == 200
                asked = latecomer.http.post("/sessions", json={"text": "And for this?"})
            assert (asked.status_code, asked.headers["connection"]) == (202, "close")
        server.wait("/readyz")
        wait_until(lambda: "descriptors_free_again" in server.log, description="the server logs that it has room")
        assert server.log.count("descriptors_used_up") == 1, "one line, however many are refused"
        with visitor.events(session_id, until_end=False) as events:
            assert next(events).type == "snapshot"


def test_full_server_refuses_streams_of_one_shot_before_it_asks(stack: Stack) -> None:
    """8.16, 10.4: a page of any origin may read the refusal, or its EventSource gives up for ever."""
    with Visitor(stack.base_url) as visitor:
        session_id = visitor.start("Is there room?")
        with clients(stack, LIMIT, *stream_request(visitor, session_id)) as connected:
            for client in connected:
                client.response()
            with clients(stack, 1, "GET /push?param=x HTTP/1.1", "Host: midsentence.test", "") as (reader,):
                response = reader.response()
                delays = retries([response])
        assert (response.status, response.headers["access-control-allow-origin"]) == (200, "*")
        assert len(delays) == 1


def test_requests_that_stay_unfinished_cause_503_with_retry_after(stack: Stack) -> None:
    """2.1: the last descriptors serve no request; those that say how the server is are answered."""
    head = "POST /sessions HTTP/1.1", "Host: midsentence.test", "Content-Type: application/json", "Content-Length: 20"
    with Visitor(stack.base_url) as visitor, clients(stack, LIMIT, *head, "", "{") as connected:
        refusal = visitor.http.post("/sessions", json={"text": "Is there room?"})
        assert code(refusal) == (503, "full")
        assert int(refusal.headers["retry-after"]) > 0
        assert visitor.http.get("/healthz").status_code == 200
        assert {client.response().status for client in connected[-RESERVED // 2 :]} == {503}
        for client in connected:
            client.close()
        accepted = functools.partial(visitor.http.post, "/sessions", json={"text": "And now?"})
        wait_until(lambda: accepted().status_code == 202, description="a message is accepted")


def test_connections_that_ask_nothing_do_not_keep_others_out(stack: Stack) -> None:
    """Without this, as many silent connections as there are descriptors would make the server close all others."""
    with clients(stack, 2 * LIMIT), Visitor(stack.base_url) as visitor:
        assert visitor.http.post("/sessions", json={"text": "Is there room?"}).status_code == 202
        assert code(visitor.http.get("/readyz")) == (503, "full")
