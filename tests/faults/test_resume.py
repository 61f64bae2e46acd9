"""Cuts and reconnects: the text is exactly the model's."""

import itertools
from collections.abc import Generator

import pytest

from tests.support.client import Transcript, Visitor
from tests.support.processes import Stack
from tests.support.upstream import text_for

QUESTION = "tokens=40 rate=400 seed=11"


@pytest.fixture(scope="module")
def visitor(shared_stack: Stack) -> Generator[Visitor]:
    with Visitor(shared_stack.base_url) as client:
        yield client


@pytest.mark.parametrize("every", [*range(1, 8), 13, 29])
def test_a_cut_after_every_kth_event_loses_no_text(visitor: Visitor, every: int) -> None:
    session_id = visitor.start(QUESTION)
    transcript = Transcript(session_id)
    for _ in range(200):
        if transcript.end():
            break
        visitor.read(session_id, transcript, limit=every)
    uncut = visitor.read(session_id)
    assert transcript.answer() == uncut.answer() == "".join(text_for(QUESTION))
    assert transcript.end() == "stop"
    assert transcript.snapshots == 1, "every cursor that the log holds must be honoured"


def test_a_reader_resumes_on_another_server(shared_stack: Stack, visitor: Visitor) -> None:
    session_id = visitor.start(QUESTION)
    transcript = Transcript(session_id)
    servers = itertools.cycle(server.base_url for server in shared_stack.servers)
    for _ in range(200):
        if transcript.end():
            break
        visitor.read(session_id, transcript, limit=3, base_url=next(servers))
    assert transcript.answer() == "".join(text_for(QUESTION))
    assert transcript.snapshots == 1
