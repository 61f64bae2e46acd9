"""Failures of an answer: each row of the table of `error.code` in docs/protocol.md, over real HTTP."""

import asyncio
import re
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import get_args

import pytest

from midsentence.model_list import ModelSpec
from midsentence.settings import Settings
from midsentence_worker.models import make_model, retry
from midsentence_worker.models.error_messages import ErrorMessages
from midsentence_worker.models.errors import RETRYABLE, ErrorCode
from tests.support.model_client import collect, collect_failure, model_at, text_of
from tests.support.upstream import Answer, Upstream

pytestmark = pytest.mark.anyio

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
KEY = "sk-test-4f0c9e"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)


@contextmanager
def unanswered() -> Generator[str]:
    """An address at which connections are refused: its port is bound, so no other process can take it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


def test_codes_are_those_of_the_protocol() -> None:
    table = PROTOCOL.read_text().partition("| `error.code` |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \|", table, re.MULTILINE)
    assert {code: retryable == "yes" for code, retryable in rows} == dict(RETRYABLE)
    assert set(RETRYABLE) == set(get_args(ErrorCode))


@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [
        (400, "model_refused_request", 2),  # the second time without stream_options
        (401, "model_refused_key", 1),
        (403, "model_refused_key", 1),
        (404, "model_refused_request", 1),
        (413, "model_refused_request", 1),
        (429, "model_rate_limited", 3),
        (500, "model_failed", 3),
        (503, "model_failed", 3),
    ],
)
async def test_status_becomes_its_code(upstream: Upstream, status: int, code: str, requests: int) -> None:
    upstream.answers += [Answer(status=status)] * requests
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    assert (failure.code, failure.retryable, len(upstream.requests)) == (code, RETRYABLE[failure.code], requests)
    assert str(failure) == failure.message


async def test_refused_key_names_the_variable_to_check(upstream: Upstream) -> None:
    upstream.key = "another"
    async with model_at(upstream.url, key=KEY) as model:
        _, failure = await collect_failure(model)
    sentence = "The provider of scripted refused the key (401): check OPENAI_API_KEY."
    assert failure.message == f"{sentence} (Incorrect API key provided: [key])"


async def test_missing_key_names_the_variable_to_set(upstream: Upstream) -> None:
    upstream.key = "another"
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    sentence = "The provider of scripted refused the key (401): set OPENAI_API_KEY."
    assert failure.message.startswith(f"{sentence} (Incorrect API key provided: ")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("echo", [KEY, f"Bearer {KEY}", "sk-test*****0c9e", f"{'x' * 295} {KEY}"])
async def test_message_never_contains_the_key(upstream: Upstream, status: int, echo: str) -> None:
    answer = Answer(status=status, body={"error": {"message": f"Denied: {echo}"}}, headers={"x-should-retry": "false"})
    upstream.answers += [answer, answer]
    async with model_at(upstream.url, key=KEY) as model:
        _, failure = await collect_failure(model)
    assert KEY[:7] not in failure.message


async def test_key_of_any_form_is_removed(upstream: Upstream) -> None:
    upstream.answers.append(Answer(status=403, body={"error": {"message": "hunter2 may not use this model."}}))
    async with model_at(upstream.url, key="hunter2") as model:
        _, failure = await collect_failure(model)
    assert failure.message.endswith(": check OPENAI_API_KEY. ([key] may not use this model.)")


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}é"])
async def test_key_that_cannot_be_sent_is_refused_and_not_shown(upstream: Upstream, key: str) -> None:
    async with model_at(upstream.url, key=key) as model:
        _, failure = await collect_failure(model)
    assert failure.code == "model_refused_key"
    assert KEY not in failure.message
    assert upstream.requests == []


async def test_password_in_the_address_is_not_shown() -> None:
    with unanswered() as address:
        async with model_at(f"{address.replace('//', '//me:secret@')}?token=secret") as model:
            _, failure = await collect_failure(model)
    assert address in failure.detail
    assert "secret" not in failure.message + failure.detail


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        ({"error": {"message": "No  such\nmodel."}}, " (No such model.)"),
        ({"error": "No such model."}, " (No such model.)"),
        ({"message": "No such model."}, " (No such model.)"),
        ({"detail": [{"loc": ["body"]}]}, ""),
        ("plain words", " (plain words)"),
        ("<html>nginx</html>", ""),
        ("x" * 999, f" ({'x' * 299}…)"),
    ],
)
async def test_message_quotes_the_provider_in_brief(upstream: Upstream, body: object, quoted: str) -> None:
    upstream.answers.append(Answer(status=404, body=body))
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    sentence = "The provider of scripted knows no model scripted: check MIDSENTENCE_MODEL and OPENAI_BASE_URL."
    assert failure.message == sentence + quoted


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "check `api_key` of large in MIDSENTENCE_MODELS."),
        (404, "check `name` of large in MIDSENTENCE_MODELS and `base_url` of large in MIDSENTENCE_MODELS."),
    ],
)
async def test_message_names_what_to_correct_in_the_file_of_models(
    upstream: Upstream, tmp_path: Path, status: int, advice: str
) -> None:
    models = tmp_path / "models.toml"
    models.write_text(f'[[models]]\nname = "large"\nbase_url = "{upstream.url}"\napi_key = "{KEY}"')
    settings = Settings.model_validate({"models": str(models), "model": None})
    model = make_model(settings.model_list.default, settings)
    upstream.answers.append(Answer(status=status))
    _, failure = await collect_failure(model)
    await model.aclose()
    assert advice in failure.message


async def test_transient_failures_are_retried(upstream: Upstream) -> None:
    upstream.answers += [Answer(hang_up=True), Answer(status=500), Answer()]
    async with model_at(upstream.url) as model:
        assert text_of(await collect(model)) == "Hello, world."


@pytest.mark.parametrize("form", ["seconds", "date", "milliseconds"])
async def test_long_retry_after_fails_the_turn_and_is_named(upstream: Upstream, form: str) -> None:
    headers = {
        "seconds": {"retry-after": "60"},
        "date": {"retry-after": formatdate(time.time() + 60, usegmt=True)},
        "milliseconds": {"retry-after": "1", "retry-after-ms": "60000"},
    }
    upstream.answers.append(Answer(status=429, headers=headers[form]))
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    assert re.search(r"ask again in (5\d|60) seconds\.", failure.message)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(("seconds", "requests"), [("1", 2), ("2", 1)])
async def test_fallback_is_asked_sooner_than_a_busy_model(upstream: Upstream, seconds: str, requests: int) -> None:
    refusal = Answer(status=429, headers={"retry-after": seconds})
    upstream.answers += [refusal, Answer(status=429, headers={"x-should-retry": "false"})]
    async with model_at(upstream.url, fallbacks=("other",)) as model:
        _, failure = await collect_failure(model)
    assert (failure.code, len(upstream.requests)) == ("model_rate_limited", requests)


async def test_x_should_retry_false_is_obeyed(upstream: Upstream) -> None:
    upstream.answers.append(Answer(status=429, headers={"x-should-retry": "false"}))
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    assert (failure.code, len(upstream.requests)) == ("model_rate_limited", 1)


async def test_address_that_does_not_answer_is_named_in_the_log_alone() -> None:
    with unanswered() as address:
        async with model_at(address) as model:
            _, failure = await collect_failure(model)
    assert failure.code == "model_unreachable"
    assert failure.message.startswith(
        "The model scripted does not answer: start its server, or correct OPENAI_BASE_URL."
    )
    assert failure.detail.startswith(address)
    assert not re.search(r"//|127\.0|:\d", failure.message)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("See https://provider.example/docs?token=x for more.", "See [address] for more."),
        ("Cannot connect to host 10.1.2.3:8000 now", "Cannot connect to host [address] now"),
        ("upstream gpu-7.internal:8000 is down", "upstream [address] is down"),
        ("dial tcp [::1]:11434: connection refused", "dial tcp [address]: connection refused"),
        ("no route to fd00:1:2::3", "no route to [address]"),
        ("localhost:11434 is busy", "[address] is busy"),
        ("redis://me:pw@cache:6379/0 is full", "[address] is full"),
        ("Use gpt-4.1 or qwen2.5:3b, 99.5% (v1.2.3).", "Use gpt-4.1 or qwen2.5:3b, 99.5% (v1.2.3)."),
        ("At 12:30, after 1:02:03 hours.", "At 12:30, after 1:02:03 hours."),
    ],
)  # fmt: skip
async def test_addresses_are_for_the_log_alone(upstream: Upstream, words: str, shown: str) -> None:
    # The second time without stream_options.
    upstream.answers += [Answer(status=400, body={"error": {"message": words}})] * 2
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    assert failure.message.endswith(f"({shown})")
    assert failure.detail.startswith(f"{upstream.url}: {words[:4]}")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("Cannot connect to host ollama:11434 ssl:default", "Cannot connect to host [address] ssl:default"),
        ("dial tcp: lookup ollama on 10.0.0.2:53", "dial tcp: lookup [address] on [address]"),
        ("Could not resolve OLLAMA", "Could not resolve [address]"),
        ("ollama knows no model ollama-2", "ollama knows no model ollama-2"),
    ],
)
def test_host_of_one_word_is_for_the_log_alone(words: str, shown: str) -> None:
    errors = ErrorMessages(ModelSpec("m", "m", base_url="http://ollama:11434/v1"))
    assert errors.failed(words).message.endswith(f"({shown})")


@pytest.mark.parametrize(
    ("wish", "seconds"), [({"retry-after": "40"}, 40), ({"retry-after-ms": "9500"}, 9.5), ({}, None)]
)
@pytest.mark.parametrize("status", [429, 503])
async def test_failure_tells_when_the_provider_wants_to_be_asked_again(
    upstream: Upstream, status: int, wish: dict[str, str], seconds: float | None
) -> None:
    upstream.answers += [Answer(status=status, headers={"x-should-retry": "false", **wish})]
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    assert failure.retry_after == seconds


async def test_silent_model_is_not_asked_again(upstream: Upstream) -> None:
    upstream.answers.append(Answer(no_reply=True))
    async with model_at(upstream.url, timeout_seconds=0.2) as model, asyncio.timeout(5):
        _, failure = await collect_failure(model)
    assert (failure.code, len(upstream.requests)) == ("model_stalled", 1)
    assert failure.message == "The model was silent for 0.2 seconds: ask again."


async def test_silence_within_an_answer_is_a_stall(upstream: Upstream) -> None:
    upstream.answers.append(Answer(stall_after=2))
    async with model_at(upstream.url, timeout_seconds=0.2) as model, asyncio.timeout(5):
        text, failure = await collect_failure(model)
    assert (text, failure.code) == ("Hello, ", "model_stalled")


async def test_slow_model_has_not_stalled(upstream: Upstream) -> None:
    """The time-out is for each read, not for the whole answer."""
    upstream.answers.append(Answer(tokens=["."] * 20, delay=0.05))
    async with model_at(upstream.url, timeout_seconds=0.5) as model:
        assert text_of(await collect(model)) == "." * 20


@pytest.mark.parametrize(
    "answer",
    [
        Answer(finish=None, done=False),
        Answer(cut_after=4),
        Answer(cut_after=4, split_utf8=True),
    ],
    ids=["ended", "closed", "closed after bytes"],
)
async def test_answer_without_a_finish_reason_or_done_is_truncated(upstream: Upstream, answer: Answer) -> None:
    upstream.answers.append(answer)
    async with model_at(upstream.url) as model:
        text, failure = await collect_failure(model)
    assert (text, failure.code) == ("Hello, world.", "model_truncated")


async def test_reset_connection_truncates_the_answer(upstream: Upstream) -> None:
    upstream.answers.append(Answer(cut_after=2, reset=True, delay=0.02))
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    assert failure.code == "model_truncated"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "broken",
    [
        Answer(cut_after=0),
        Answer(cut_after=0, reset=True),
        Answer(raw=[b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n']),
        Answer(raw=[b": keep-alive\n\n"]),
    ],
    ids=["closed", "reset", "ended behind the role", "ended"],
)
async def test_stream_that_brings_nothing_is_asked_for_again(upstream: Upstream, broken: Answer) -> None:
    """Nothing of the answer came, so this is a request that failed, and no answer that was cut."""
    upstream.answers += [broken, broken, Answer()]
    async with model_at(upstream.url) as model:
        assert text_of(await collect(model)) == "Hello, world."
        upstream.answers += [broken] * 3
        text, failure = await collect_failure(model)
    assert (text, failure.code, len(upstream.requests)) == ("", "model_truncated", 6)


async def test_error_in_a_stream_is_quoted(upstream: Upstream) -> None:
    upstream.answers.append(Answer(error_after=2))
    async with model_at(upstream.url) as model:
        text, failure = await collect_failure(model)
    assert (text, failure.code) == ("Hello, ", "model_failed")
    assert failure.message.endswith(": ask again. (The scripted model broke.)")


@pytest.mark.parametrize("finish", ["error", "network_error", "insufficient_system_resource"])
async def test_finish_reason_of_a_failure_is_a_failure(upstream: Upstream, finish: str) -> None:
    upstream.answers.append(Answer(finish=finish))
    async with model_at(upstream.url) as model:
        text, failure = await collect_failure(model)
    assert (text, failure.code) == ("Hello, world.", "model_failed")


@pytest.mark.parametrize("raw", [b"data: {not json\n\n", b'data: {"choices": [{"delta": {"content": "\xff\n\n'])
async def test_stream_that_cannot_be_parsed_is_a_failure(upstream: Upstream, raw: bytes) -> None:
    upstream.answers.append(Answer(raw=[raw]))
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    assert failure.code == "model_failed"


async def test_web_page_instead_of_a_stream_points_at_the_address(upstream: Upstream) -> None:
    upstream.answers.append(Answer(body="<html>Welcome</html>"))
    async with model_at(upstream.url) as model:
        _, failure = await collect_failure(model)
    assert failure.code == "model_failed"
    assert "check OPENAI_BASE_URL" in failure.message
