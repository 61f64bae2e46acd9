"""How an answer ends, and what it cost, in the words of each provider."""

import asyncio

import pytest

from midsentence.events import Usage
from midsentence_worker.models import chat_stream
from midsentence_worker.models.base import Finish
from tests.support.chat_answers import DONE, Heard, chunk, event, heard, text
from tests.support.model_client import collect, model_at, text_of
from tests.support.raw_provider import raw_provider, reply

STOP = Finish("stop", None)
SENTENCE = Heard("Hello world.", "", STOP)


@pytest.mark.parametrize(
    "stream",
    [
        text("Hello ") + text("", "stop") + text("world.") + DONE,
        text("Hello ", "stop") + text("world.", "stop") + DONE,
        text("Hello ", "stop") + text("world.", "stop"),
        text("", "stop") + text("Hello ") + text("world."),
        text("Hello ") + chunk({}, "stop") + chunk({}, "stop") + chunk({"content": "world."}, None),
    ],
)
def test_text_behind_a_finish_reason_is_kept(stream: bytes) -> None:
    assert heard(stream) == SENTENCE


def test_reasoning_behind_a_finish_reason_is_kept() -> None:
    stream = chunk({"content": ""}, "stop") + chunk({"reasoning_content": "Hm."}) + text("Hello world.") + DONE
    assert heard(stream) == Heard("Hello world.", "Hm.", STOP)


@pytest.mark.anyio
async def test_silence_behind_a_finish_reason_that_came_first_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers send `stop` with the role, and think then."""
    monkeypatch.setattr(chat_stream, "TAIL_SECONDS", 0.01)
    thought = asyncio.Event()
    (head,) = reply(chunk({"role": "assistant", "content": ""}, "stop"))
    async with raw_provider([head, thought, text("Hello world.") + DONE]) as provider, model_at(provider.url) as model:
        asyncio.get_running_loop().call_later(0.2, thought.set)
        assert text_of(await collect(model)) == "Hello world."


def test_last_finish_reason_counts() -> None:
    assert heard(text("Hello ", "stop"), text("world.", "length"), DONE).finish == Finish("length", None)


@pytest.mark.parametrize(
    ("reason", "words"),
    {
        "length": [
            *("length", "LENGTH", "max_tokens", "MAX_TOKENS", "MaxTokens", "max-tokens", "model_length", "max_length"),
            *("max_output_tokens", "max_completion_tokens", "model_context_window_exceeded", "ERROR_LIMIT", "limit"),
        ],
        "content_filter": [
            *("content_filter", "CONTENT_FILTER", "ContentFiltered", "content_filtered", "SAFETY", "safety"),
            *("RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE", "refusal"),
            *("guardrail_intervened", "sensitive", "ERROR_TOXIC", "FinishReason.SAFETY"),
        ],
        "stop": [
            "stop",
            "STOP",
            "eos",
            "eos_token",
            "end_turn",
            "COMPLETE",
            "stop_sequence",
            "tool_calls",
            "other",
            "?",
        ],
    }.items(),
)
def test_finish_reason_counts_in_any_spelling(reason: str, words: list[str]) -> None:
    for word in words:
        finish = heard(text("Hello"), chunk({}, word), DONE).finish
        assert (word, finish and finish.reason) == (word, reason)


@pytest.mark.parametrize(
    "word",
    [
        *("abort", "aborted", "ABORT", "cancelled", "canceled", "error", "ERROR", "timeout", "failed", "engine_error"),
        *("network_error", "insufficient_system_resource", "MALFORMED_FUNCTION_CALL", "server_error", "interrupted"),
    ],
)
def test_finish_reason_of_a_failure_fails_in_any_spelling(word: str) -> None:
    answer = heard(text("Hello"), chunk({}, word), DONE)
    assert (answer.text, answer.error and answer.error.code) == ("Hello", "model_failed")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"reason": "stop"}, "stop"),
        ({"type": "max_tokens"}, "length"),
        ({"reason": {"deep": 1}}, "stop"),
        (["length"], "length"),
        ([["length"]], "length"),
        (7, "stop"),
        (True, "stop"),
        ({"x": 1}, "stop"),
    ],
)
def test_finish_reason_of_another_type_is_an_end(value: object, reason: str) -> None:
    finish = heard(text("Hello"), chunk({}, value)).finish
    assert finish is not None
    assert finish.reason == reason


@pytest.mark.parametrize("value", [None, "", False, 0, [], {}])
def test_empty_finish_reason_is_no_end(value: object) -> None:
    error = heard(text("Hello", value)).error
    assert error is not None
    assert error.code == "model_truncated"


def used(usage: object, *, inside: bool = False) -> Usage | None:
    if inside:
        last = event({"choices": [{"index": 0, "finish_reason": "stop", "usage": usage}]})
    else:
        last = chunk({}, "stop", usage=usage)
    finish = heard(text("Hello"), last, DONE).finish
    assert finish is not None
    return finish.usage


@pytest.mark.parametrize("inside", [False, True], ids=["beside the choices", "in the choice"])
@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 5, "completion_tokens": 2},
        {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": "many", "details": [None]},
        {"prompt_tokens": 5.0, "completion_tokens": 2.0},
        {"input_tokens": 5, "output_tokens": 2},
    ],
)
def test_possible_usage_is_reported(usage: object, *, inside: bool) -> None:
    assert used(usage, inside=inside) == Usage(5, 2, "reported")


@pytest.mark.parametrize("inside", [False, True], ids=["beside the choices", "in the choice"])
@pytest.mark.parametrize("count", [-1, True, 2.5, 10**10, 10**30, 1e300, float("inf"), float("nan"), "2", None, [], {}])
def test_impossible_usage_is_left_to_the_estimate(count: object, *, inside: bool) -> None:
    assert used({"prompt_tokens": 5, "completion_tokens": count}, inside=inside) is None
    assert used({"prompt_tokens": count, "completion_tokens": 2}, inside=inside) is None


@pytest.mark.parametrize("usage", [None, 7, "x", [], [1], True, {}])
def test_usage_of_another_type_is_left_to_the_estimate(usage: object) -> None:
    assert used(usage) is None


def test_impossible_usage_does_not_replace_an_earlier_one() -> None:
    answer = heard(
        chunk({"content": "x"}, usage={"prompt_tokens": 5, "completion_tokens": 2}), chunk({}, "stop", usage={})
    )
    assert answer.finish == Finish("stop", Usage(5, 2, "reported"))
