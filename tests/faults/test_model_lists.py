"""A server and a worker that were started with different lists of models: a message is answered all the same."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.conftest import running
from tests.protocol.questions import SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import Transcript, Visitor
from tests.support.processes import Stack, WorkerChild
from tests.support.upstream import Upstream


def listed(path: Path, upstream: Upstream, *names: str) -> str:
    path.write_text("".join(f'[[models]]\nname = "{name}"\nbase_url = "{upstream.url}"\n' for name in names))
    return str(path)


@pytest.fixture
def stack(tmp_path: Path, upstream: Upstream) -> Generator[Stack]:
    of_server = listed(tmp_path / "server.toml", upstream, "old", "both")
    of_worker = listed(tmp_path / "worker.toml", upstream, "new", "both")
    stack = Stack(tmp_path, upstream, settings={"MIDSENTENCE_MODEL": "", "MIDSENTENCE_MODELS": of_server})
    stack.workers = [WorkerChild(tmp_path, stack.environment | {"MIDSENTENCE_MODELS": of_worker})]
    yield from running(stack)


@pytest.mark.parametrize(("asked", "answers"), [("old", "new"), ("both", "both"), (None, "new")])
def test_a_model_that_the_worker_lacks_is_replaced_by_its_default(
    visitor: Visitor, upstream: Upstream, asked: str | None, answers: str
) -> None:
    """4.9: `start` and `state` name the model that answers, and the message keeps the one that it asked for."""
    response = visitor.http.post("/sessions", json={"text": SHORT, "model": asked})
    session_id = response.json()["session_id"]
    # From the message on: the answer may end before the reader attaches, who would then get a snapshot.
    transcript = visitor.read(session_id, Transcript(session_id, cursor="1.0-0"))
    assert [event.json["model"] for event in transcript.events if event.type == "start"] == [answers]
    assert (transcript.state["model"], transcript.end(1)) == (answers, "stop")
    assert upstream.requests[-1].body["model"] == answers
    question = visitor.http.get(f"/sessions/{transcript.session_id}").json()["messages"][0]
    assert question.get("model") == asked


def test_a_model_that_only_the_worker_has_is_refused(visitor: Visitor) -> None:
    """4.9: the server's own list counts."""
    response = visitor.http.post("/sessions", json={"text": SHORT, "model": "new"})
    assert_refused(response, 422, "unknown_model")
