"""How a server that shuts down answers requests that still wait."""

import json
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.conftest import running
from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Upstream


@pytest.fixture
def stack(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    yield from running(Stack(tmp_path, upstream, workers=0, settings={"MIDSENTENCE_DRAIN_SECONDS": "1"}))


@pytest.mark.parametrize(("method", "route"), [("GET", "events"), ("POST", "stop")])
def test_a_request_that_waits_for_redis_at_a_shutdown_gets_503(stack: Stack, method: str, route: str) -> None:
    """2.1. Without `ShutdownMiddleware` uvicorn would answer 500 in plain text."""
    [server] = stack.servers
    with Visitor(stack.base_url) as visitor:
        session_id = visitor.start("Is anybody there?")
        cookie = f"midsentence={visitor.http.cookies['midsentence']}"
        stack.redis.pause()
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
            connection.request(method, f"/sessions/{session_id}/{route}", headers={"Cookie": cookie})
            # When the server answers this request, it has read the first one.
            assert visitor.http.get("/healthz").status_code == 200
            server.stop()
            stack.redis.resume()
            answer = connection.getresponse()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert json.load(answer)["error"]["code"] == "draining"
