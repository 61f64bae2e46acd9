"""Answers in other shapes than the documented one: what is text is kept, and nothing is lost in silence."""

import json

import pytest

from midsentence_worker.models.base import Finish
from tests.support.chat_answers import DONE, Heard, chunk, event, heard, text

STOP = Finish("stop", None)
HELLO = Heard("Hello world.", "", STOP)
WHOLE = {"index": 0, "message": {"role": "assistant", "content": "Hello world."}, "finish_reason": "stop"}


def choice(**fields: object) -> bytes:
    return event({"choices": [{"index": 0, **fields}]})


@pytest.mark.parametrize(
    "stream",
    [
        chunk({"content": [{"type": "text", "text": "Hello world."}]}),
        chunk({"content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "world."}]}),
        chunk({"content": [{"type": "output_text", "text": "Hello "}]}) + text("world."),
        chunk({"content": ["Hello ", {"text": "world."}]}),
        chunk({"content": {"type": "text", "text": "Hello world."}}),
        chunk({"content": {"text": {"value": "Hello world.", "annotations": []}}}),
        chunk({"content": [{"type": "paragraph", "text": "Hello world."}]}),
        chunk({"content": [[{"text": "Hello world."}]]}),
        chunk({"refusal": "Hello world."}),
        chunk({"content": None, "refusal": "Hello world."}),
        chunk("Hello world."),
        choice(message={"content": "Hello world."}),
        choice(delta={}, message={"content": "Hello world."}),
        choice(delta=None, message={"content": [{"type": "text", "text": "Hello world."}]}),
        choice(text="Hello world."),
        choice(delta={"role": "assistant"}, text="Hello world."),
        event({"choices": {"delta": {"content": "Hello world."}}}),
        event({"choices": [None, {"delta": {"content": "Hello world."}}]}),
        event([{"choices": [{"delta": {"content": "Hello world."}}]}]),
        event({"type": "chunk", "choices": [{"delta": {"content": "Hello world."}}]}),
        event({"choices": [{"delta": {"content": "Hello world."}}]}, "message"),
        event('\ufeff{"choices": [{"delta": {"content": "Hello world."}}]}'),
    ],
)
def test_text_of_any_shape_is_the_answer(stream: bytes) -> None:
    assert heard(stream, chunk({}, "stop"), DONE) == HELLO


@pytest.mark.parametrize(
    "delta",
    [
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
        {"content": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]},
        {"content": [{"type": "reasoning", "text": "Hm."}]},
        {"content": [{"type": "THINKING", "reasoning": "Hm."}]},
        {"content": [{"thought": True, "text": "Hm."}]},
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning": {"content": "Hm."}},
        {"reasoning_content": [{"type": "text", "text": "Hm."}]},
        {"content": "", "reasoning_content": "Hm.", "reasoning": "Hm."},
    ],
)
def test_thinking_of_any_shape_is_reasoning(delta: object) -> None:
    assert heard(chunk(delta), text("Hello world."), DONE) == Heard("Hello world.", "Hm.", STOP)


@pytest.mark.parametrize("delta", [{}, None, {"role": "assistant"}])
def test_whole_message_behind_its_deltas_adds_nothing(delta: object) -> None:
    whole = choice(delta=delta, message={"content": "Hello world.", "reasoning": "Hm."}, finish_reason="stop")
    thought = chunk({"reasoning": "Hm."})
    assert heard(thought, text("Hello "), text("world."), whole, DONE) == Heard("Hello world.", "Hm.", STOP)
    assert heard(thought, whole, DONE) == Heard("Hello world.", "Hm.", STOP)
    assert heard(text("Hello world."), whole, DONE) == Heard("Hello world.", "Hm.", STOP)


@pytest.mark.parametrize("times", [1, 2])
def test_whole_message_adds_what_its_deltas_lack(times: int) -> None:
    whole = choice(message={"content": "Hello world.", "reasoning": "Hm, hm."})
    answer = heard(chunk({"reasoning": "Hm"}), chunk({"content": "Hello"}), *[whole] * times, DONE)
    assert (answer.text, answer.thought, answer.finish) == ("Hello world.", "Hm, hm.", STOP)


def test_other_message_behind_deltas_adds_nothing() -> None:
    answer = heard(chunk({"content": "Hello"}), choice(message={"content": "Good day, all"}), DONE)
    assert answer.text == "Hello"


def test_messages_instead_of_deltas_add_up() -> None:
    parts = [choice(message={"content": word}) for word in ("Hello ", "world.")]
    assert heard(*parts, DONE) == HELLO


def test_text_and_thinking_of_one_content_keep_apart() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}, {"type": "text", "text": "c"}]
    assert heard(chunk({"content": content}, "stop")) == Heard("ac", "b", STOP)


@pytest.mark.parametrize(
    "nothing",
    [b"data:\n\n", b"data: \n\n", b"data\n\n", b"retry: 3000\n\n", b"id: 7\n\n", b": ping\n\n", b"event: ping\n\n"]
    + [event(data) for data in ("null", "true", "0", '""', "[]", "{}", "[null]", "ping", '"ping"', "[1, 2]", "NaN")]
    + [event({"type": "ping"}, "ping"), event({"choices": []}), event({"choices": [None]}), event({"choices": "x"})]
    + [event({"choices": [{"delta": delta}]}) for delta in (5, {"content": 5}, {"tool_calls": [1]})],
)
def test_what_says_nothing_is_passed_over(nothing: bytes) -> None:
    stream = nothing + text("Hello ") + nothing + text("world.") + nothing + chunk({}, "stop") + nothing + DONE
    assert heard(stream) == HELLO
    assert heard(*(stream[at : at + 1] for at in range(len(stream)))) == HELLO


def test_empty_answer_between_pings_is_empty() -> None:
    assert heard(event("ping"), chunk({}, "stop"), event("ping"), DONE) == Heard(finish=STOP)


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (event("the model is loading"), "the model is loading"),
        (event('"the model is loading"'), "the model is loading"),
        (event({"message": "the model is loading"}), "the model is loading"),
        (event({"response": "Hello", "done": True}), "Hello"),
        (event({"detail": [{"msg": "the model is loading"}]}), "the model is loading"),
        (chunk({"content": {"audio": {"id": "x"}}}), "It sent something that is no answer."),
        (chunk({"content": [{"type": "audio", "data": "x"}]}, "stop"), "It sent something that is no answer."),
        (chunk({"content": 5}, "stop"), "It sent something that is no answer."),
    ],
)
@pytest.mark.parametrize("end", [b"", DONE])
def test_answer_that_cannot_be_read_fails_with_the_providers_words(stream: bytes, words: str, end: bytes) -> None:
    error = heard(stream, end).error
    assert error is not None
    assert error.code == "model_failed"
    assert error.message.endswith(f"({words})")


@pytest.mark.parametrize("done", ["[DONE]", " [DONE] ", "[ DONE ]", "[done]", '"[DONE]"', "DONE]"])
def test_done_without_a_finish_reason_is_stop(done: str) -> None:
    """Some servers omit the finish reason (vLLM)."""
    assert heard(text("Hello world."), event(done)) == HELLO


def test_what_follows_done_is_not_read() -> None:
    assert heard(text("Hello world."), DONE + text("More.")) == HELLO


def test_byte_order_mark_costs_no_token() -> None:
    assert heard(b"\xef\xbb\xbf" + text("Hello world.") + DONE) == HELLO


BODY = {"object": "chat.completion", "choices": [WHOLE], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(BODY),
        json.dumps(BODY, indent=2),
        "\ufeff \n" + json.dumps(BODY),
        json.dumps([BODY]),
        json.dumps([{"choices": [{"delta": {"content": word}}]} for word in ("Hello ", "world.")]),
        "".join(json.dumps({"choices": [{"delta": {"content": word}}]}) + "\n" for word in ("Hello ", "world.")),
        json.dumps({"choices": [{"text": "Hello world."}]}),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", ""])
def test_body_that_is_no_stream_is_the_answer(body: str, content_type: str) -> None:
    """Some gateways ignore `stream`."""
    answer = heard(*(body.encode()[at : at + 7] for at in range(0, len(body.encode()), 7)), content_type=content_type)
    assert (answer.text, answer.error) == ("Hello world.", None)
    assert answer.finish is not None


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"error": {"message": "model is overloaded", "code": "overloaded"}}, "model_failed", "model is overloaded"),
        ([{"error": {"message": "model is overloaded"}}], "model_failed", "model is overloaded"),
        ({"errors": [{"message": "no such plan", "code": 429}]}, "model_rate_limited", "no such plan"),
        ({"object": "error", "message": "broken", "code": 500}, "model_failed", "broken"),
        ({"detail": "Not here"}, "model_failed", "Not here"),
        ("the model is loading", "model_failed", "the model is loading"),
    ],
)
def test_body_that_is_an_error_is_quoted(body: object, code: str, words: str) -> None:
    sent = body if isinstance(body, str) else json.dumps(body)
    error = heard(sent.encode(), content_type="application/json").error
    assert error is not None
    assert (error.code, error.message.rpartition(" (")[2]) == (code, f"{words})")


@pytest.mark.parametrize("body", [b"data: {}", b"event: x\ndata: the", text("Hello")[:-1], b": ping\n"])
def test_event_that_does_not_end_is_a_truncated_answer(body: bytes) -> None:
    error = heard(body).error
    assert error is not None
    assert (error.code, "Hello" in error.message) == ("model_truncated", False)


@pytest.mark.parametrize("body", [b"", b"<html>Welcome</html>", b"{}", b"[]", b"null", b"\xff\xfe", b'{"choices": []}'])
def test_body_without_an_answer_points_at_the_address(body: bytes) -> None:
    error = heard(body, content_type="text/html").error
    assert error is not None
    assert error.code in {"model_failed", "model_truncated"}
