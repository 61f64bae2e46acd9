"""Whatever bytes a provider sends: a turn ends once, with all the text or an end that says that some is missing."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from midsentence.ids import EventId
from midsentence.jobs import Jobs
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence_worker.answer import TurnServices
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.models import background_response, byte_stream, chat_stream, http_client, make_model, retry
from midsentence_worker.turn import Turn
from tests.support.chat_answers import DONE, chunk, event, text
from tests.support.fake_redis import fake_redis
from tests.support.raw_provider import Reply, raw_provider
from tests.support.turns import ClosedBreakers

KEY = "sk-abc123def456ghi"
SECRETS = (KEY, "passw0rd", "t0ken", "req_abcdef123456", "chatcmpl-abcdef123456")
TOLD = (
    f"bad key {KEY} at https://me:passw0rd@host.example/v1?key=t0ken, "
    "request id: req_abcdef123456 (chatcmpl-abcdef123456)"
)
HEAL_ATTEMPTS = 1
LENGTH = 300
# For each attempt: the request, without the option for usage where that is refused, and two retries of both.
MOST_REQUESTS = 6 * (1 + HEAL_ATTEMPTS)

ERROR: dict[str, Any] = {"error": {"message": TOLD, "code": 503}}
NOISE = st.sampled_from(
    [
        b": ping\n\n",
        b"retry: 5\n\n",
        b"event: ping\ndata: {}\n\n",
        b"data: null\n\n",
        b"data:\n\n",
        b"data: []\n\n",
        b"\r\n\r\n",
        b"\n\n\n",
        event({"choices": []}),
        event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
        event({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}),
        event({"choices": [{"delta": {"content": [{"type": "thinking", "thinking": "hm"}]}, "finish_reason": "stop"}]}),
        event(
            {"choices": [{"delta": [None, 7], "finish_reason": {"reason": "length"}}], "usage": {"prompt_tokens": -1}}
        ),
        event({"type": "response.in_progress"}),
        event({"type": "response.output_item.added", "item": None}),
        event({"type": "response.unknown.delta", "sequence_number": -4}),
    ]
)
FATAL = st.sampled_from(
    [
        event(ERROR),
        event(ERROR, "error"),
        event({"type": "error", "message": TOLD}),
        event({"choices": [{"delta": {}, "error": {"message": TOLD}}]}),
        f"data: error: {TOLD}\n\n".encode(),
        b"data: {\n\n",
        b"\xff\xfe\x00garbage\n\n",
    ]
)
BLOCKS = st.lists(
    st.tuples(st.just("text"), st.integers(0, 3))
    | st.tuples(st.just("raw"), NOISE | NOISE | NOISE | FATAL | st.binary(max_size=12).map(lambda raw: raw + b"\n\n")),
    max_size=8,
)
HEADS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=latin1\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % LENGTH,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 503 X\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    ]
)


MARKS = ("", "😀", " \n", "<b>")


def marker(number: int, kind: int) -> str:
    """A text that is found again in an answer, with what is hard to cut."""
    return f"⟦{number}{MARKS[kind]}⟧"


def body_of(api: str, blocks: Sequence[tuple[str, Any]], *, ends: bool) -> tuple[bytes, list[tuple[str, int]]]:
    """The stream, and each text with the place of its last byte."""
    created = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
    stream, texts = event(created) if api == "responses" else b"", list[tuple[str, int]]()
    for number, (kind, value) in enumerate(blocks):
        if kind == "text":
            words = marker(number, value)
            delta = {"type": "response.output_text.delta", "delta": words}
            stream += text(words) if api == "chat" else event(delta)
            texts.append((words, len(stream)))
        else:
            stream += value
    if ends:
        response = {"id": "resp_1", "status": "completed"}
        stream += (
            chunk({}, "stop") + DONE if api == "chat" else event({"type": "response.completed", "response": response})
        )
    return stream, texts


async def turn_of(api: str, answer: Reply) -> tuple[list[tuple[str, dict[str, Any]]], str, int]:
    """Run a turn. Returns its events, the state of its session, and how often the provider was asked for an answer."""
    async with fake_redis() as url, raw_provider(answer) as provider:
        given = Settings.model_validate(
            {
                "redis_url": url,
                "partitions": 1,
                "replay_events": 10_000,
                "OPENAI_BASE_URL": provider.url,
                "OPENAI_API_KEY": KEY,
                "model": "scripted",
                "models": None,
                "api": api,
                "model_timeout_seconds": 1,
                "heal_attempts": HEAL_ATTEMPTS,
                "heal_pause_seconds": 0,
            }
        )
        store = Store(given)
        log, jobs = SessionLog(store), Jobs(store)
        model = make_model(given.model_list.default, given)
        batcher = AppendBatcher(log, 0.001)
        sending = asyncio.create_task(batcher.run())
        try:
            session_id, _ = await log.start("ann", "hello")
            (claim,) = await jobs.claim("w", model.name, 1)
            breakers: Any = ClosedBreakers()
            async with asyncio.timeout(30):
                await Turn(claim, TurnServices(given, {model.name: model}, breakers, log, jobs, batcher)).run()
            view = await log.read(session_id, EventId(1, 0, 0))
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            await model.aclose()
            await store.aclose()
    events = [(each.type, json.loads(each.data)) for each in view.events]
    return events, view.state, sum(line.startswith("POST") and "cancel" not in line for line in provider.lines)


def answer_of(events: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """All text and reasoning of the attempt that counts."""
    begins = max((at for at, (kind, _) in enumerate(events) if kind == "reset"), default=0)
    return "".join(data["text"] for kind, data in events[begins:] if kind in {"delta", "reasoning"})


@pytest.fixture(scope="module", autouse=True)
def quick() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
        patch.setattr(background_response, "_POLL_SECONDS", 0.001)
        patch.setattr(http_client, "_ERROR_BODY_SECONDS", 0.05)
        patch.setattr(chat_stream, "TAIL_SECONDS", 0.05)
        patch.setattr(byte_stream, "_LOOK_SECONDS", 0.05)
        yield


@pytest.mark.parametrize("api", ["chat", "responses"])
@given(blocks=BLOCKS, head=HEADS, ends=st.booleans(), cut=st.none() | st.integers(0, 400), pieces=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
@example(blocks=[("text", 1), ("text", 2)], head=b"HTTP/1.1 200 OK\r\n\r\n", ends=False, cut=None, pieces=1)
@example(blocks=[("text", 1), ("raw", event(ERROR))], head=b"HTTP/1.1 200 OK\r\n\r\n", ends=True, cut=None, pieces=9)
@pytest.mark.filterwarnings("ignore:Unclosed response:ResourceWarning")
def test_turn_ends_once_and_loses_no_text_silently(
    *, api: str, blocks: list[tuple[str, Any]], head: bytes, ends: bool, cut: int | None, pieces: int
) -> None:
    body, texts = body_of(api, blocks, ends=ends)
    sent = body if cut is None else body[:cut]
    # No client reads on behind the length that the head names.
    readable = min(len(sent), LENGTH) if b"Content-Length" in head else len(sent)
    reply = [head, *(sent[at : at + pieces * 8] for at in range(0, len(sent), pieces * 8))]
    events, state, asked = asyncio.run(turn_of(api, reply))
    assert [kind for kind, _ in events].count("end") == 1
    assert (events[-1][0], state) == ("end", "idle")
    end = events[-1][1]
    if end["reason"] != "error":
        answer = answer_of(events)
        for words, place in texts:
            assert words in answer or place > readable, (words, answer)
    else:
        assert end["error"]["message"]
    assert asked <= MOST_REQUESTS
    if end["reason"] != "error" and cut is None:
        assert asked <= 2
    told = json.dumps([data for kind, data in events if kind in {"end", "reset"}])
    assert not [secret for secret in SECRETS if secret in told]
