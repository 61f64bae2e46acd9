"""The whole house, small: every token of the provider reaches its reader, and each process has its cost."""

import json
from contextlib import AbstractContextManager, closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from bench.house import ScriptedProvider
from bench.houses import HOUSES
from bench.scenario import Setting
from bench.scenarios import capacity, post
from bench.scenarios.house import measure
from bench.tokens import TOKEN, WIDTH, numbers

_AVAILABLE = ("midsentence", "handwritten")


@pytest.mark.parametrize("name", _AVAILABLE)
def test_every_token_of_the_provider_reaches_its_reader_once(name: str, tmp_path: Path) -> None:
    figures = measure(HOUSES[name](), Setting(tmp_path, seconds=1, quick=True), turns=4, rate=10)
    for error in ("late", "missing", "duplicates", "lost", "refused", "asked_again"):
        assert figures[error] == 0, error
    # A window may begin and end between a token's stamp and its delivery.
    assert figures["delivered_share"] == pytest.approx(1, rel=0.25)
    costs = {figure for figure in figures if figure.endswith("_us_per_token")}
    assert {"worker_us_per_token", "redis_us_per_token"} <= costs
    assert ("server_us_per_token" in costs) == (name == "midsentence")
    assert min(figures[cost] for cost in costs) > 0


def test_provider_writes_each_token_in_a_chunk_of_its_own(tmp_path: Path) -> None:
    with ScriptedProvider(tmp_path) as provider, _asking(provider, "hold 1") as connection:
        response = connection.getresponse()
        provider.wait_for(1)
        provider.stream(rate=50, seconds=0.1)
        assert provider.streamed(10) == {"sent": 5, "cut": 0}
        # The head of the stream, then the tokens: http.client returns one chunk of the transfer encoding at a time.
        chunks = [response.read1() for _ in range(6)]
    events = [json.loads(chunk.removeprefix(b"data: ")) for chunk in chunks]
    texts = [event["choices"][0]["delta"]["content"] for event in events]
    assert texts[0] == ""
    assert numbers("".join(texts).encode()) == [0, 1, 2, 3, 4]
    assert {len(text) for text in texts[1:]} == {WIDTH}
    # As long as an event of OpenAI's, and with all of its fields.
    assert {len(chunk) for chunk in chunks[1:]} <= set(range(300, 350))
    assert {"id", "object", "created", "model", "service_tier", "system_fingerprint", "usage", "obfuscation"} <= set(
        events[1]
    )


def test_provider_continues_all_streams_at_another_rate(tmp_path: Path) -> None:
    with ScriptedProvider(tmp_path) as provider, _asking(provider, "hold 1") as connection:
        response = connection.getresponse()
        provider.wait_for(1)
        for rate in (50, 100):
            provider.stream(rate, seconds=0.1)
            provider.streamed(10)
        chunks = [response.read1() for _ in range(1 + 5 + 10)]
    texts = [json.loads(chunk.removeprefix(b"data: "))["choices"][0]["delta"]["content"] for chunk in chunks]
    assert numbers("".join(texts).encode()) == list(range(15))


def test_provider_answers_any_other_question_at_once(tmp_path: Path) -> None:
    with ScriptedProvider(tmp_path) as provider, openai.OpenAI(base_url=provider.url, api_key="none") as client:
        chunks = client.chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": "Question 1"}], stream=True
        )
        choices = [choice for chunk in chunks for choice in chunk.choices]
        assert provider.asked == 0
    text = "".join(choice.delta.content or "" for choice in choices)
    assert numbers(text.encode()) == list(range(5))
    assert [choice.finish_reason for choice in choices] == [None] * 6 + ["stop"]


def _asking(provider: ScriptedProvider, question: str) -> AbstractContextManager[HTTPConnection]:
    address = urlsplit(provider.url)
    connection = HTTPConnection(address.netloc, timeout=10)
    body = json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": question}], "stream": True})
    connection.request("POST", f"{address.path}/chat/completions", body)
    return closing(connection)


@pytest.mark.parametrize("name", _AVAILABLE)
def test_first_token_is_awaited_in_every_house(name: str, tmp_path: Path) -> None:
    figures = post.measure(HOUSES[name](), Setting(tmp_path, seconds=1, quick=True), times=5)
    assert 0 < figures["accepted_p50_ms"] < figures["first_token_p50_ms"] <= figures["first_token_p99_ms"]
    assert figures["worker_us_per_question"] > 0


def test_rate_is_offered_and_measured(tmp_path: Path) -> None:
    """Whether the house keeps up is the machine's matter; that each token comes once is not."""
    setting = Setting(tmp_path, seconds=1, quick=True)
    figures = capacity.measure(HOUSES["midsentence"](), setting, turns=2, last=500)
    assert 0 <= figures["tokens_per_second"] <= 500
    for error in ("missing", "duplicates", "lost", "asked_again"):
        assert figures[error] == 0, error


@pytest.mark.parametrize("limit", [600, 1500, 12_345])
def test_capacity_is_found_within_five_percent(limit: float) -> None:
    found, figures = capacity.highest(lambda rate: {"rate": rate} if rate <= limit else None, 500, 64_000)
    assert 0.95 * limit <= found <= limit
    assert figures == {"rate": found}, "they belong to the rate that was kept up with"


def test_capacity_below_the_first_rate_is_found() -> None:
    found, _ = capacity.highest(lambda rate: {"rate": rate} if rate <= 200 else None, 500, 64_000)
    assert 125 <= found <= 200


def test_house_that_keeps_up_with_nothing_has_no_capacity() -> None:
    assert capacity.highest(lambda _: None, 500, 64_000) == (0, {})


def test_provider_writes_in_the_end_what_its_reader_left_unread(tmp_path: Path) -> None:
    """A reader that is late must not slow the others, and must miss nothing."""
    tokens = 40_000  # more than the buffers of two sockets take
    with ScriptedProvider(tmp_path) as provider, _asking(provider, "hold 1") as connection:
        response = connection.getresponse()
        provider.wait_for(1)
        provider.stream(rate=100_000, seconds=tokens / 100_000)
        assert provider.streamed(60)["sent"] == tokens
        chunks = [response.readline()]
        while b"~%d." % (tokens - 1) not in chunks[-1]:
            chunks.append(response.readline())
    found = TOKEN.findall(b"".join(chunks))
    assert [int(number) for number, _ in found] == list(range(tokens))
