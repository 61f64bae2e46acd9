"""Any bytes in the place of a response: each answer ends, or fails with an error of the protocol."""

import asyncio
import json
import random

import pytest

from midsentence_worker.models import background_response, chat_stream, http_client, retry
from tests.support.chat_answers import DONE, Heard, chunk, event, text
from tests.support.model_client import QUESTION, model_at
from tests.support.raw_provider import Reply, raw_provider, reply

pytestmark = [
    pytest.mark.anyio,
    # A reason phrase that is no UTF-8: see `HttpClient`.
    pytest.mark.filterwarnings("ignore:Unclosed response:ResourceWarning"),
]

ERROR = {"error": {"message": "The engine died.", "code": 503}}
WHOLE = {"object": "chat.completion", "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
RESPONSE = {"id": "resp_1", "status": "completed", "usage": {"input_tokens": 1, "output_tokens": 2}}
REPLIES = {
    "chat": [
        reply(text("<think>Hm.</think>") + text("Hello") + chunk({}, "stop", usage={"prompt_tokens": 1}) + DONE),
        reply(json.dumps(WHOLE).encode(), kind="application/json"),
    ],
    "responses": [
        reply(
            event({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}})
            + event({"type": "response.output_text.delta", "sequence_number": 1, "delta": "<think>Hm.</think>Hello"})
            + event({"type": "response.completed", "sequence_number": 2, "response": RESPONSE})
        ),
    ],
}
ERRORS = [
    reply(event(ERROR)),
    reply(json.dumps(ERROR).encode(), "500 X", kind="application/json"),
    reply(json.dumps([ERROR]).encode(), "429 X", "Retry-After: 1", kind="application/json"),
    reply(b"", "308 X", "Location: /v2"),
]
WORDS = [
    *(
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"null",
        b"true",
        b"-1",
        b"1e999",
        b"\\ud83d",
        b"\xff",
        b"\r\n",
        b"\n\n",
        b"data: ",
    ),
    *(
        b"event: error\n",
        b"[DONE]",
        b"<think>",
        b'"error":',
        b'"choices":',
        b'"type":',
        b"0\r\n\r\n",
        b" 500 ",
        b" 204 ",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Content-Length: 5\r\n", b"Location: /x\r\n"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(background_response, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(http_client, "_ERROR_BODY_SECONDS", 0.05)
    monkeypatch.setattr(chat_stream, "TAIL_SECONDS", 0.05)


def spoilt(chance: random.Random, whole: Reply) -> Reply:
    data = bytearray(b"".join(part for part in whole if isinstance(part, bytes)))
    for _ in range(chance.randrange(5)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                del data[at : at + chance.randrange(20)]
            case 1:
                data[at : at + 1] = chance.randbytes(1)
            case 2 if chance.random() < 0.3:
                del data[at:]
            case _:
                data[at:at] = chance.choice(WORDS)
    cut = chance.randrange(len(data) + 1)
    return [part for part in (bytes(data[:cut]), bytes(data[cut:])) if part]


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_any_bytes_end_an_answer_or_fail_it(api: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed={seed}")
    chance = random.Random(seed)
    for _ in range(25):
        replies = [spoilt(chance, chance.choice([*REPLIES[api], *ERRORS])) for _ in range(3)]
        print(replies)
        async with (
            raw_provider(*replies) as provider,
            model_at(provider.url, api=api, timeout_seconds=0.3) as model,
            asyncio.timeout(60),
        ):
            await Heard().follow(model.stream(QUESTION))
