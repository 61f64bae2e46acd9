"""Two servers and two workers behind the repository's own nginx configuration."""

from collections.abc import Generator

import pytest

from tests.conftest import running
from tests.support.client import Transcript, Visitor
from tests.support.nginx import nginx
from tests.support.processes import Stack
from tests.support.upstream import Upstream, text_for

pytestmark = pytest.mark.needs_nginx
QUESTION = "tokens=60 rate=200 seed=5"


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Stack, str]]:
    with Upstream() as upstream:
        settings = {"FORWARDED_ALLOW_IPS": "*"}
        stack = Stack(tmp_path_factory.mktemp("stack"), upstream, servers=2, workers=2, settings=settings)
        for started in running(stack):
            ports = [("127.0.0.1", server.port) for server in started.servers]
            with nginx(ports, tmp_path_factory.mktemp("nginx")) as base_url:
                yield started, base_url


def test_an_answer_is_read_over_several_connections(topology: tuple[Stack, str]) -> None:
    with Visitor(topology[1]) as visitor:
        session_id = visitor.start(QUESTION)
        transcript = Transcript(session_id)
        while not transcript.end():
            visitor.read(session_id, transcript, limit=5)
    assert transcript.answer() == "".join(text_for(QUESTION))
    assert transcript.snapshots == 1


def test_a_rolling_restart_loses_and_repeats_nothing(topology: tuple[Stack, str]) -> None:
    stack, base_url = topology
    question = "tokens=300 rate=60 seed=6"
    with Visitor(base_url) as visitor:
        session_id = visitor.start(question)
        transcript = Transcript(session_id)
        for server in stack.servers:
            visitor.read(session_id, transcript, limit=20)
            server.stop()
            visitor.read(session_id, transcript, limit=20)
            server.start()
        visitor.read(session_id, transcript)
    assert transcript.answer() == "".join(text_for(question))
    assert transcript.snapshots == 1


def test_a_post_of_another_origin_is_refused(topology: tuple[Stack, str]) -> None:
    with Visitor(topology[1]) as visitor:
        visitor.start("hello", Origin=topology[1])
        refused = visitor.http.post("/sessions", json={"text": "hello"}, headers={"Origin": "http://elsewhere.test"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_origin")
