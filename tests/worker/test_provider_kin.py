"""Further shapes that real providers and gateways send for chat completions, by the kind of what they do."""

import json
from typing import Any

import pytest

from midsentence.events import Usage
from midsentence_worker.models import finish_reasons
from midsentence_worker.models.base import Finish
from tests.support.chat_answers import DONE, Heard, chunk, cut, event, heard, text

STOP = Finish("stop", None)
HI = text("Hi")


def choice(**fields: Any) -> bytes:
    return event({"choices": [{"index": 0, **fields}]})


def lines(*chunks: bytes) -> bytes:
    """Events that end with a line, and not with a blank line."""
    return b"".join(chunks).replace(b"\n\n", b"\n")


# Ends


@pytest.mark.parametrize("reason", [["stop"], False, "", 0, None, {"reason": "stop"}])
def test_finish_reason_of_any_type_loses_no_text(reason: object) -> None:
    answer = heard(choice(delta={"content": "Hi"}, finish_reason=reason), text(" there"), DONE)
    assert (answer.text, answer.finish) == ("Hi there", STOP)


@pytest.mark.parametrize(("first", "reason"), [("length", "length"), ("SAFETY", "content_filter"), ("stop", "stop")])
def test_stop_behind_another_finish_reason_does_not_hide_it(first: str, reason: str) -> None:
    answer = heard(text("Hi", first), chunk({}, "stop"), DONE)
    assert answer.finish == Finish(reason, None)  # pyright: ignore[reportArgumentType]


def test_last_of_many_finish_reasons_counts_where_text_is_between_them() -> None:
    assert heard(text("Hi", "length"), text(" there", "stop"), DONE).finish == STOP


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        *((word, "length") for word in ("TOO_LONG", "MAX_OUTPUT", "cut_off", "FINISH_REASON_MAX_TOKENS", "incomplete")),
        *((word, "content_filter") for word in ("flagged", "censored", "RISK", "FinishReason.SAFETY", "blocked")),
        *((word, None) for word in ("UNEXPECTED_TOOL_CALL", "network_error", "ERROR", "aborted")),
        *((word, "stop") for word in ("COMPLETE", "eos_token", "end_turn", "FINISH_REASON_STOP", "normal", "OTHER")),
    ],
)
def test_finish_reason_counts_in_the_words_of_each_provider(reported: str, reason: str | None) -> None:
    assert finish_reasons.reason_of(reported) == reason


@pytest.mark.parametrize(
    "stream",
    [
        HI + lines(text(" there", "stop")),
        HI + lines(text(" there", "stop"))[:-1],
        HI + text(" there") + b"data: [DONE]",
        HI + text(" there") + b"data: [DONE]\n",
        lines(HI, text(" there"), DONE),
        lines(HI, text(" there")) + b"\n" + DONE,
    ],
)
def test_events_without_their_blank_lines_count(stream: bytes) -> None:
    for at in range(len(stream)):
        answer = heard(*cut(stream, [at]))
        assert (answer.text, answer.finish) == ("Hi there", STOP)


def test_part_of_an_event_at_the_end_is_no_text() -> None:
    answer = heard(HI, text(" there", "stop")[:-8])
    assert answer.text == "Hi"
    assert answer.error is not None
    assert answer.error.code == "model_truncated"


# Shapes of text and reasoning


@pytest.mark.parametrize(
    "stream",
    [
        choice(delta=[{"content": "H"}, {"content": "i"}]),
        choice(delta={"text": "Hi"}),
        choice(delta={"type": "text_delta", "text": "Hi"}),
        choice(delta={"content": None, "refusal": "Hi"}),
        event({"choices": {"0": {"delta": {"content": "Hi"}}}}),
        event({"choices": [{}, {"index": 1, "delta": {"content": "Hi"}}]}),
        event({"choices": [None, {"delta": {"content": "Hi"}}]}),
        b"data: " + HI,
        b"\xef\xbb\xbf\xef\xbb\xbf" + HI,
        chunk({"role": "assistant"}) + b"\xef\xbb\xbf" + HI,
        event({"base_resp": {"status_code": 0, "status_msg": ""}, "choices": [{"delta": {"content": "Hi"}}]}),
        event({"type": "ping"}) + event({}) + b"data: OK\n\n" + HI,
    ],
)
def test_text_of_any_place_is_the_answer(stream: bytes) -> None:
    answer = heard(stream, DONE)
    assert (answer.text, answer.thought, answer.finish) == ("Hi", "", STOP)


@pytest.mark.parametrize("beside", [{}, {"content": ""}, {"content": None, "role": "assistant"}])
@pytest.mark.parametrize(
    "thought",
    [
        {"thinking": "Hm."},
        {"reasoning_text": "Hm."},
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}, {"type": "reasoning.encrypted"}]},
        {
            "reasoning": "Hm.",
            "reasoning_content": "Hm.",
            "reasoning_details": [{"type": "reasoning.text", "text": "H"}],
        },
    ],
)
def test_reasoning_of_any_name_is_kept_once(thought: dict[str, Any], beside: dict[str, Any]) -> None:
    answer = heard(choice(delta={**beside, **thought}), HI, DONE)
    assert (answer.thought, answer.text, answer.finish) == ("Hm.", "Hi", STOP)


def test_bytes_that_are_no_utf_8_become_u_fffd() -> None:
    answer = heard(HI.replace(b"Hi", b"caf\xe9"), DONE)
    assert (answer.text, answer.finish) == ("caf\ufffd", STOP)


@pytest.mark.parametrize(
    "stream",
    [
        chunk({"tool_calls": [{"function": {"name": "x", "arguments": "{}"}}]}) + chunk({}, "tool_calls"),
        chunk({"content": "", "tool_calls": [{"index": 0}]}) + chunk({}, "tool_calls"),
        chunk({"function_call": {"name": "x"}}) + chunk({}, "function_call"),
    ],
)
def test_call_of_a_tool_alone_is_a_failure(stream: bytes) -> None:
    error = heard(stream, DONE).error
    assert error is not None
    assert finish_reasons.CALLED_A_TOOL in error.message


@pytest.mark.parametrize(
    "stream",
    [
        event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}, "content_block_delta"),
        event({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}),
        event({"type": "content-delta", "delta": {"message": {"content": {"text": "Hi"}}}}),
        event({"token": {"text": "Hi"}, "generated_text": None}),
        event({"result": {"choices": [{"delta": {"content": "Hi"}}]}}),
        choice(delta={"audio": {"transcript": "Hi"}}),
    ],
)
@pytest.mark.parametrize("end", [b"", DONE])
def test_answer_in_another_protocol_is_a_failure_and_no_empty_answer(stream: bytes, end: bytes) -> None:
    error = heard(stream, end).error
    assert error is not None
    assert (error.code, "is no answer" in error.message) == ("model_failed", True)


# Errors


def failure(*stream: bytes) -> tuple[str, str, str]:
    answer = heard(*stream)
    assert answer.error is not None
    return answer.text, answer.error.code, answer.error.message


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            {"error": {"message": "Failed", "code": 429, "metadata": {"raw": '{"error":{"message":"Slow down."}}'}}},
            "model_rate_limited",
            "Failed: Slow down.",
        ),
        ({"error": {"message": "Failed", "metadata": {"raw": "It broke."}}}, "model_failed", "Failed: It broke."),
        ({"error": {"message": "It broke.", "metadata": {"raw": {"retryable": True}}}}, "model_failed", "It broke."),
        ({"base_resp": {"status_code": 1002, "status_msg": "It broke."}, "choices": None}, "model_failed", "It broke."),
        ({"internalServerException": {"message": "It broke."}}, "model_failed", "It broke."),
        ({"__type": "ThrottlingException", "message": "Slow down."}, "model_rate_limited", "Slow down."),
        ({"error": {"code": "HTTP_429", "message": "Slow down."}}, "model_rate_limited", "Slow down."),
        ({"error": True, "message": "It broke."}, "model_failed", "It broke."),
    ],
)
def test_error_is_quoted_from_the_envelope_of_each_gateway(error: object, code: str, words: str) -> None:
    _, found, message = failure(event(error))
    assert (found, message.endswith(f"({words})")) == (code, True), message


@pytest.mark.parametrize(
    "stream",
    [
        choice(delta={"error": {"message": "It broke."}}),
        choice(delta={}, error={"message": "It broke.", "code": 502}),
        b"event: Error\ndata: It broke.\n\n",
        b'event: exception\ndata: {"message":"It broke."}\n\n',
        event({"choices": [{"delta": {"content": ""}, "finish_reason": "error"}], "error": {"message": "It broke."}}),
    ],
)
def test_error_in_mid_answer_is_a_failure_whatever_follows(stream: bytes) -> None:
    kept, code, message = failure(HI, stream, DONE)
    assert (kept, code) == ("Hi", "model_failed")
    assert "(It broke.)" in message


@pytest.mark.parametrize("words", ["error: out of memory", "[ERROR] out of memory", "Exception: out of memory"])
def test_error_that_is_a_text_is_a_failure_in_its_words(words: str) -> None:
    kept, code, message = failure(HI, f"data: {words}\n\n".encode(), DONE)
    assert (kept, code) == ("Hi", "model_failed")
    assert words in message


def test_no_part_of_a_longer_key_is_shown() -> None:
    _, _, message = failure(event({"error": {"message": "Bad key sk-abc123def456ghi, x."}}))
    assert "Bad key [key], x." in message


# Values


@pytest.mark.parametrize("usage", [(0, 0), (3, 0), (0, 3)])
def test_usage_of_no_tokens_is_left_to_the_estimate(usage: tuple[int, int]) -> None:
    reported = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    assert heard(HI, event({"choices": [], "usage": reported}), DONE).finish == STOP


def test_usage_of_an_empty_answer_is_reported() -> None:
    reported = {"prompt_tokens": 3, "completion_tokens": 0}
    stream = chunk({"content": ""}, "stop") + event({"choices": [], "usage": reported})
    assert heard(stream, DONE).finish == Finish("stop", Usage(3, 0, "reported"))


@pytest.mark.parametrize("noise", ['"created": 1e400', '"created": NaN', f'"created": {"9" * 5000}', '"created": "\0"'])
def test_value_beside_the_text_does_not_matter(noise: str) -> None:
    stream = f'data: {{{noise}, "choices": [{{"delta": {{"content": "Hi"}}}}]}}\n\n'.encode()
    answer = heard(stream, DONE)
    assert (answer.text, answer.finish) == ("Hi", STOP)


@pytest.mark.parametrize(
    "stream",
    [
        b'data: {"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n\n",
        b'data: {"choices": [{"delta": {"content": "x"}}],}\n\n',
        b"data: {'choices': []}\n\n",
        b'data: {"choices": [{"delta": {"con\n\n',
    ],
)
def test_event_that_cannot_be_read_fails_the_answer_and_keeps_its_text(stream: bytes) -> None:
    kept, code, _ = failure(HI, stream, text(" there"), DONE)
    assert (kept, code) == ("Hi", "model_failed")


def test_many_empty_deltas_say_nothing() -> None:
    empty = chunk({}) + chunk({"content": ""}) + chunk({"content": None})
    answer = heard(*[empty] * 2_000, HI, DONE)
    assert (answer.text, answer.finish) == ("Hi", STOP)


# Tags

TAGS = [
    ("<|think|>", "<|/think|>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]


@pytest.mark.parametrize(("opening", "closing"), TAGS)
def test_tags_of_each_model_become_reasoning_wherever_they_are_cut(opening: str, closing: str) -> None:
    whole = f"{opening}Hm.{closing}Hi"
    for at in range(len(whole)):
        answer: Heard = heard(text(whole[:at]), text(whole[at:]), DONE)
        assert (answer.thought, answer.text) == ("Hm.", "Hi"), at


@pytest.mark.parametrize("answer", ["<|x", "[think about it]", "[th", "<seed>", "<thin air>", json.dumps("<think>")])
def test_text_that_only_begins_like_a_tag_stays(answer: str) -> None:
    assert heard(*(text(letter) for letter in answer), DONE).text == answer
