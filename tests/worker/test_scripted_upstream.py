"""The scripted upstream itself, on which other tests rely."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from midsentence_worker.models.base import Message
from tests.support.chat_completions import remaining
from tests.support.model_client import collect, collect_failure, model_at, text_of
from tests.support.upstream import MODEL, Answer, Request, Upstream, text_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def process() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.upstream", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield running.stdout.readline().strip()
        running.terminate()


async def test_process_sends_what_text_for_predicts_and_lists_its_requests(process: str) -> None:
    questions = ["tokens=200 seed=7", "tokens=3 rate=100 seed=8", "你好, echo"]
    async with model_at(process) as model:
        answers = [text_of(await collect(model, [Message("user", question)])) for question in questions]
        text, failure = await collect_failure(model, [Message("user", "tokens=9 seed=1 cut=4")])
    assert answers == ["".join(text_for(question)) for question in questions]
    assert (text, failure.code) == ("".join(text_for("tokens=9 seed=1")[:4]), "model_truncated")
    async with httpx.AsyncClient() as client:
        requests = (await client.get(f"{process}/requests")).json()
    assert [request["sent"] for request in requests] == [200, 3, len(text_for(questions[2])), 4]
    assert [request["finished"] is None for request in requests] == [False, False, False, True]


def test_same_seed_gives_the_same_text() -> None:
    assert text_for("tokens=200 seed=7") == text_for("please: tokens=200 rate=3 seed=7")
    assert text_for("tokens=200 seed=7") != text_for("tokens=200 seed=8")
    assert len(text_for("tokens=200 seed=7")) == 200


def test_upstream_restarts_at_the_same_address() -> None:
    upstream = Upstream()
    addresses: list[str] = []
    for _ in range(2):
        with upstream:
            addresses.append(f"{upstream.url}/models")
            assert httpx.get(addresses[0]).json()["data"][0]["id"] == MODEL
        with pytest.raises(httpx.ConnectError):
            httpx.get(addresses[0])
    assert addresses[0] == addresses[1]


async def test_process_reports_the_cost_of_a_background_response(process: str) -> None:
    async with model_at(process, api="responses") as model:
        assert text_of(await collect(model, [Message("user", "tokens=9 seed=1 cut=4")])) == "".join(
            text_for("tokens=9 seed=1")
        )
    async with httpx.AsyncClient() as client:
        (response,) = (await client.get(f"{process}/responses")).json()
    assert (response["generated"], response["streamed"], response["status"]) == (9, 2, "completed")


def test_partial_answer_is_continued_at_its_last_character() -> None:
    tokens = ["Hello", ", ", "world"]
    assert remaining(tokens, "") == tokens
    assert remaining(tokens, "Hello, ") == ["world"]
    assert remaining(tokens, "Hel") == ["lo", ", ", "world"]
    assert remaining(tokens, "Hello, world") == []
    assert remaining(tokens, "Bye") == tokens


async def test_open_gate_delays_nothing() -> None:
    answer = Answer(gate=True)
    answer.release_all()
    with Upstream() as upstream:
        upstream.answers.append(answer)
        async with model_at(upstream.url) as model:
            assert text_of(await collect(model)) == answer.text


async def test_client_that_leaves_during_a_write_is_seen_to_have_left() -> None:
    class Resetting(Upstream):
        async def play(self, request: Request, writer: asyncio.StreamWriter) -> bool:
            del request, writer
            raise ConnectionResetError

    with Resetting() as upstream:
        async with model_at(upstream.url) as model:
            await collect_failure(model)
        assert upstream.requests
        assert all(request.disconnected for request in upstream.requests)
