"""Errors of providers: a status, or a report in a stream; with bodies that are whole, cut off or missing."""

import asyncio
import gzip
import json
import time

import httpx2
import pytest

from midsentence_worker.models import http_client, retry
from midsentence_worker.models.base import CannotResumeError, Message
from midsentence_worker.models.errors import ModelError
from tests.support.chat_answers import DONE, ERRORS, chunk, event, heard, text
from tests.support.model_client import QUESTION, collect, collect_failure, model_at, text_of
from tests.support.raw_provider import RawProvider, Reply, raw_provider, reply

pytestmark = pytest.mark.anyio

# OpenAI Responses pass through the same client.
APIS = pytest.mark.parametrize("api", ["chat", "responses"])
KEY = "sk-abc123def"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(http_client, "_ERROR_BODY_SECONDS", 0.1)


async def failure_of(*replies: Reply, api: str = "chat") -> tuple[ModelError, RawProvider]:
    async with raw_provider(*replies) as provider, model_at(provider.url, key=KEY, api=api) as model:
        _, failure = await collect_failure(model)
    return failure, provider


def refused(status: str, body: object, *headers: str) -> Reply:
    return reply(json.dumps(body).encode(), status, *headers, kind="application/json")


def cut_off(status: str, body: bytes, *headers: str) -> Reply:
    lines = "\r\n".join((f"HTTP/1.1 {status}", "Content-Type: application/json", *headers))
    return [lines.encode() + b"\r\n\r\n" + body]


BROKEN_BODIES = {
    "shorter than announced": ["Content-Length: 500"],
    "chunk cut off": ["Transfer-Encoding: chunked"],
    "not compressed": ["Content-Encoding: gzip", "Connection: close"],
}


@APIS
@pytest.mark.parametrize("headers", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [
        (401, "model_refused_key", 1),
        (404, "model_refused_request", 1),
        (408, "model_rate_limited", 3),
        (429, "model_rate_limited", 3),
        (500, "model_failed", 3),
        (529, "model_failed", 3),
    ],
)
async def test_status_counts_where_the_body_is_broken(
    status: int, code: str, requests: int, headers: list[str], api: str
) -> None:
    failure, provider = await failure_of(cut_off(f"{status} X", b'5\r\n{"err', *headers), api=api)
    assert (failure.code, len(provider.lines)) == (code, requests)
    assert "does not answer" not in failure.message


@APIS
@pytest.mark.parametrize("name", ["X-Place: Zürich", "Server: \xff", "Retry-After: é", "Content-Type: é"])
async def test_status_counts_beside_headers_outside_ascii(name: str, api: str) -> None:
    head = f"HTTP/1.1 403 Verweigert für dich\r\nConnection: close\r\n{name}\r\n\r\n".encode()
    failure, _ = await failure_of([head + b'{"message": "W."}'], api=api)
    assert (failure.code, failure.message.endswith(" (W.)")) == ("model_refused_key", True)


@APIS
@pytest.mark.filterwarnings("ignore:Unclosed response:ResourceWarning")
async def test_reason_phrase_that_is_no_utf_8_fails_the_turn_with_a_reason(api: str) -> None:
    failure, _ = await failure_of([b"HTTP/1.1 200 S\xfc\xdf\r\nConnection: close\r\n\r\n"], api=api)
    assert (failure.code, failure.message.endswith("(Its reason phrase is no UTF-8.)")) == ("model_unreachable", True)


@APIS
async def test_status_counts_where_the_body_does_not_come(api: str) -> None:
    begun = time.monotonic()
    failure, provider = await failure_of([b'HTTP/1.1 429 X\r\nContent-Length: 30\r\n\r\n{"err', None], api=api)
    assert (failure.code, len(provider.lines)) == ("model_rate_limited", 3)
    assert time.monotonic() - begun < 5  # the time-out for silence is 10 s


@APIS
async def test_status_counts_where_the_body_does_not_end(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_ERROR_BODY_SECONDS", 60)
    endless = [b"HTTP/1.1 400 X\r\nContent-Type: text/plain\r\n\r\nbad words", *[b"." * 2**16] * 1000]
    failure, provider = await failure_of(endless, api=api)
    assert failure.code == "model_refused_request"
    assert provider.parts < 800  # what is on its way in the buffers of the connections
    assert "bad words" in failure.message


@APIS
@pytest.mark.parametrize("status", [408, 409, 425, 429])
async def test_busy_provider_is_asked_again(status: int, api: str) -> None:
    failure, provider = await failure_of(refused(f"{status} X", {"error": "timeout"}), api=api)
    assert (failure.code, failure.retryable, len(provider.lines)) == ("model_rate_limited", True, 3)
    assert "change what you ask" not in failure.message
    assert failure.message.endswith("(timeout)")


@pytest.mark.parametrize(
    "value", ["inf", "-inf", "nan", "1e400", "soon", "-5", "", "Wed, 99 Foo 2020", "1e300", "9" * 400]
)
@pytest.mark.parametrize("name", ["Retry-After", "Retry-After-Ms"])
async def test_impossible_retry_after_is_ignored(name: str, value: str) -> None:
    failure, _ = await failure_of(refused("429 X", {"error": {"message": "slow down"}}, f"{name}: {value}"))
    assert failure.code == "model_rate_limited"
    assert "ask again later" in failure.message


ENVELOPES = [
    {"error": {"message": "W."}},
    {"error": "W."},
    {"message": "W."},
    {"detail": "W."},
    {"detail": [{"loc": ["body"], "msg": "W."}]},
    {"errors": [{"message": "W."}]},
    {"errors": {"model": ["W."]}, "title": "W."},
    {"error": {"error": {"message": "W."}}},
    {"error": {"message": '{"error": {"message": "W."}}'}},
    {"error": [{"message": "W."}]},
    {"error_description": "W.", "code": 3},
    [{"error": {"code": 400, "message": "W.", "status": "INVALID_ARGUMENT"}}],
    ["W."],
    [[{"message": "W."}]],
    "W.",
]


@APIS
@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
async def test_words_are_quoted_from_any_envelope(envelope: object, status: int, api: str) -> None:
    failure, _ = await failure_of(refused(f"{status} X", envelope, "x-should-retry: false"), api=api)
    assert failure.message.endswith(" (W.)")


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_words_are_quoted_from_a_compressed_body(encoding: str) -> None:
    body = json.dumps({"error": {"message": "W."}}).encode()
    sent = gzip.compress(body) if encoding == "gzip" else body
    failure, _ = await failure_of(reply(sent, "400 X", f"Content-Encoding: {encoding}", kind="application/json"))
    assert failure.message.endswith(" (W.)")


@pytest.mark.parametrize(
    "value", [*ENVELOPES, {}, [], None, 5, "", {"error": None}, {"error": {"message": None}}, "<p>"]
)
def test_errors_in_mid_answer_fail_it_with_their_words(value: object) -> None:
    answer = heard(text("Hello "), event(value, "error"), DONE)
    assert (answer.text, answer.error and answer.error.code) == ("Hello ", "model_failed")
    if value in ENVELOPES:
        assert answer.error is not None
        assert answer.error.message.endswith(" (W.)")


@pytest.mark.parametrize(
    "error",
    [
        event({"object": "error", "message": "W.", "type": "InternalServerError", "code": 500}),
        event({"type": "error", "error": {"type": "overloaded_error", "message": "W."}}),
        event({"type": "error", "message": "W."}),
        event({"error": {"message": "W."}, "choices": []}),
        event({"error": "W."}),
        event({"errors": [{"message": "W."}]}),
        event({"code": 500, "message": "W."}),
        event({"status_code": 503, "detail": "W."}),
        event(
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 502, "message": "W."}}]}
        ),
        event("W.", "error"),
        event('"W."', "error"),
        event('{"message": "W."', "error").replace(b'{"message": "W."', b"W."),
    ],
)
def test_error_in_mid_stream_is_quoted(error: bytes) -> None:
    answer = heard(text("Hello "), error, DONE)
    assert (answer.text, answer.error and answer.error.code) == ("Hello ", "model_failed")
    assert answer.error is not None
    assert answer.error.message.endswith(" (W.)")


@pytest.mark.parametrize(
    ("error", "code", "is_final"),
    [
        ([{"error": {"code": 429, "message": "W.", "status": "RESOURCE_EXHAUSTED"}}], "model_rate_limited", False),
        ({"error": {"message": "W.", "code": "rate_limit_exceeded"}}, "model_rate_limited", False),
        ({"error": {"message": "W.", "code": 400}}, "model_failed", True),
        ({"error": {"message": "W.", "code": "context_length_exceeded"}}, "model_failed", True),
        ({"error": {"message": "W.", "type": "overloaded_error"}}, "model_failed", False),
        ({"error": {"message": "W."}}, "model_failed", False),
    ],
)
def test_code_of_an_error_in_mid_stream_tells_whether_asking_again_helps(
    error: object, code: str, is_final: bool
) -> None:
    answer = heard(text("Hello "), event(error))
    assert answer.error is not None
    assert (answer.error.code, answer.error.is_final) == (code, is_final)


def test_error_behind_the_finish_reason_breaks_no_answer() -> None:
    answer = heard(text("Hello "), chunk({}, "stop"), event({"error": {"message": "W."}}))
    assert (answer.text, answer.error) == ("Hello ", None)


STATUSES = [
    (400, "model_refused_request", 1),
    (401, "model_refused_key", 1),
    (403, "model_refused_key", 1),
    (404, "model_refused_request", 1),
    (408, "model_rate_limited", 3),
    (429, "model_rate_limited", 3),
    (500, "model_failed", 3),
    (503, "model_failed", 3),
]


@APIS
@pytest.mark.parametrize(("status", "code", "requests"), STATUSES)
@pytest.mark.parametrize(
    "form", ["number", "digits", "sentence", "float", "flat", "list", "error event", "behind a role", "body"]
)
async def test_code_of_a_first_event_counts_as_a_status(
    status: int, code: str, requests: int, form: str, api: str
) -> None:
    error = {"message": "W.", "type": None, "code": status}
    forms = {
        "number": event({"error": error}),
        "digits": event({"error": {**error, "code": str(status)}}),
        "sentence": event({"error": {**error, "code": None, "status": f"HTTP/1.1 {status} X"}}),
        "float": event({"error": {**error, "code": float(status)}}),
        "flat": event({"object": "error", **error, "type": "error"}),
        "list": event([{"error": error}]),
        "error event": event(error, "error"),
        "behind a role": event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        + event({"error": error}),
        "body": json.dumps({"error": error}).encode(),
    }
    kind = "application/json" if form == "body" else "text/event-stream"
    failure, provider = await failure_of(reply(forms[form], kind=kind), api=api)
    if status == 400 and api == "chat":
        requests += 1  # without stream_options
    assert (failure.code, len(provider.lines)) == (code, requests)
    if status != 401:
        assert failure.message.endswith(" (W.)")


@APIS
@pytest.mark.parametrize(
    ("code", "words"),
    {
        "model_rate_limited": [
            *("rate_limit_exceeded", "RESOURCE_EXHAUSTED", "insufficient_quota", "RateLimitError", "too_many_requests"),
            *("ThrottlingException", "quota_exceeded", "rate_limit_error"),
        ],
        "model_refused_key": [
            *("invalid_api_key", "authentication_error", "UNAUTHENTICATED", "AuthenticationError", "unauthorized"),
            *("permission_denied", "PERMISSION_DENIED", "PermissionDeniedError", "forbidden"),
        ],
        "model_refused_request": [
            *("context_length_exceeded", "invalid_request_error", "INVALID_ARGUMENT", "BadRequestError"),
            *("model_not_found", "NOT_FOUND", "NotFoundError", "request_too_large", "content_policy_violation"),
        ],
        "model_failed": [
            *("server_error", "overloaded", "overloaded_error", "InternalServerError", "INTERNAL", "UNAVAILABLE"),
            *("service_unavailable", "timeout", "DEADLINE_EXCEEDED", "api_error", "bad_gateway", "EngineDeadError"),
        ],
    }.items(),
)
async def test_word_of_a_first_event_counts_as_a_status(code: str, words: list[str], api: str) -> None:
    for word in words:
        for error in (
            {"message": "W.", "code": word},
            {"message": "W.", "code": None, "type": word},
            {"message": "W.", "status": word},
        ):
            failure, provider = await failure_of(reply(event({"error": error})), api=api)
            assert (word, failure.code) == (word, code)
            assert (len(provider.lines) == 3) == failure.retryable


async def test_error_of_a_first_event_without_a_code_is_not_asked_again() -> None:
    failure, provider = await failure_of(reply(event({"error": {"message": "W.", "code": "x-17"}})))
    assert (failure.code, len(provider.lines)) == ("model_failed", 1)


@APIS
async def test_answer_after_refused_tries_is_whole(api: str) -> None:
    events = {
        "chat": text("Hello") + DONE,
        "responses": event({"type": "response.created", "response": {"id": "resp_1"}})
        + event({"type": "response.output_text.delta", "delta": "Hello"})
        + event({"type": "response.completed", "response": {"status": "completed"}}),
    }
    overloaded = reply(event({"error": {"message": "W.", "code": 503}}))
    async with (
        raw_provider(overloaded, refused("500 X", {}), reply(events[api])) as provider,
        model_at(provider.url, api=api) as model,
    ):
        assert text_of(await collect(model)) == "Hello"


async def test_error_in_mid_stream_is_not_asked_again() -> None:
    failure, provider = await failure_of(reply(text("Hello ") + event({"error": {"message": "W.", "code": 503}})))
    assert (failure.code, len(provider.lines)) == ("model_failed", 1)


@pytest.mark.parametrize("first", [refused("422 X", {}), reply(event({"error": {"message": "W.", "code": 400}}))])
async def test_refused_continuation_can_be_begun_anew(first: Reply) -> None:
    async with raw_provider(first) as provider, model_at(provider.url) as model:
        with pytest.raises(CannotResumeError):
            await collect(model, [*QUESTION, Message("assistant", "Yes, ")])


@pytest.mark.parametrize("body", [b"<html>", b'{"err'], ids=["page", "cut off"])
async def test_refused_stream_options_are_left_out_whatever_the_body(body: bytes) -> None:
    async with (
        raw_provider(cut_off("400 X", body, "Content-Length: 99"), reply(text("Hello") + DONE)) as provider,
        model_at(provider.url) as model,
    ):
        assert text_of(await collect(model)) == "Hello"
    assert [b"stream_options" in body for body in provider.bodies] == [True, False]


async def test_refused_first_event_frees_its_connection() -> None:
    """The rest of the stream is not read."""
    error = [*reply(event({"error": {"message": "W.", "code": 400}})), None]
    async with raw_provider(error) as provider, model_at(provider.url) as model, asyncio.timeout(5):
        await collect_failure(model)


SECRETS = [
    f"Incorrect key {KEY}.",
    "Incorrect key sk-proj-1234abcd.",
    "Use AIzaSyA1234567890abcdef",
    "Authorization: Bearer abcdefgh",
    "Authorization: Basic dXNlcjpzZWNyZXQ=",
    "Cannot reach http://me:secret@proxy:3128/",
    "Cannot reach http://proxy:3128/x?token=secret",
    "See request ID req_0123456789abcdef in your message.",
    "request_id=0123456789abcdef",
    '"request-id": "01234567-89ab-cdef"',
    "Trace ID: 0123456789abcdef",
]


@pytest.mark.parametrize("words", SECRETS)
def test_messages_show_no_keys_passwords_or_request_ids(words: str) -> None:
    for error in (ERRORS.failed(words), ERRORS.unreadable(words), ERRORS.empty("text/plain", words)):
        for secret in (
            KEY,
            "1234abcd",
            "A1234567890abcdef",
            "abcdefgh",
            "dXNl",
            "secret",
            "0123456789abcdef",
            "01234567-",
        ):
            assert secret not in error.message


@pytest.mark.parametrize(
    "words", ["bad \ud83d token", "\ude00", "a\ud83d\ude00b", "x" * 299 + "\ud83d", "a\0b\x1b[1mc\r\nd"]
)
@pytest.mark.parametrize("before", [b"", text("Hello")])
def test_messages_can_be_written(words: str, before: bytes) -> None:
    """A lone surrogate cannot be encoded, and a control character would reach terminals through logs."""
    error = heard(before, event({"error": {"message": words, "code": "\ud83d"}})).error
    assert error is not None
    assert error.message.encode().decode().isprintable()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed_with_its_method_or_not_at_all(status: int) -> None:
    answer = reply(text("Hello") + DONE)
    async with (
        raw_provider(reply(b"", f"{status} X", "Location: /v2/chat"), answer) as provider,
        model_at(provider.url) as model,
    ):
        if status in {307, 308}:
            assert text_of(await collect(model)) == "Hello"
            assert provider.bodies[0] == provider.bodies[1]
        else:
            _, failure = await collect_failure(model)
            assert (failure.code, len(provider.lines)) == ("model_refused_request", 1)
            assert f"redirects the request ({status})" in failure.message
            assert "/v2/chat" in failure.detail
    assert {line.split()[0] for line in provider.lines} == {"POST"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["host", "port"])
async def test_redirect_to_another_origin_is_not_followed(host: str) -> None:
    """It would be sent the conversation."""
    other = f"http://me:secret@{host}:9/v1?key=secret"
    failure, provider = await failure_of(reply(b"", "307 X", f"Location: {other}"))
    assert (failure.code, len(provider.lines)) == ("model_refused_request", 1)
    assert failure.detail.endswith(f"redirected to http://{host}:9/v1")
    assert "secret" not in failure.message + failure.detail


@pytest.mark.parametrize(
    ("address", "target", "is_followed"),
    [
        ("http://model/v1/x", "https://model/v1/x", True),
        ("http://model/v1/x", "/v2", True),
        ("http://model/v1/x", "https://other/v1/x", False),
        ("http://model/v1/x", "http://other/v1/x", False),
        ("http://model:80/v1/x", "https://model/v1/x", True),
        ("http://model:8080/v1/x", "https://model/v1/x", False),
        ("https://model/v1/x", "http://model/v1/x", False),
    ],
)
async def test_redirect_is_followed_at_the_same_host_and_to_https(address: str, target: str, is_followed: bool) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(f"{request.method} {request.url} {request.headers['authorization']}")
        return httpx2.Response(200) if len(asked) > 1 else httpx2.Response(308, headers={"location": target})

    transport = httpx2.MockTransport(answer)
    async with http_client.HttpClient(httpx2.URL(address), httpx2.Timeout(5), transport) as client:
        request = client.build_request("POST", address, headers={"authorization": "Bearer x"}, content=b"{}")
        response = await client.send(request)
    assert (response.status_code, len(asked)) == ((200, 2) if is_followed else (308, 1))
    assert all(line.startswith("POST ") and line.endswith(" Bearer x") for line in asked)


@pytest.mark.parametrize("location", ["Location: http://[", "Location:", "X: y", "Location: /v1/chat/completions"])
async def test_redirect_that_leads_nowhere_is_an_error(location: str) -> None:
    failure, provider = await failure_of(reply(b"", "308 X", location))
    assert failure.code in {"model_refused_request", "model_unreachable"}
    assert len(provider.lines) <= 6


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ERRORS.truncated(), "The model's answer broke off before its end."),
        (ERRORS.failed({"message": "W."}), "The model scripted failed while it answered. (W.)"),
        (ERRORS.rate_limited({"message": "W: X."}), "The model scripted takes no more requests for now. (W: X.)"),
    ],
)
def test_reason_of_a_failure_contains_no_advice(failure: ModelError, reason: str) -> None:
    """A `reset` tells it while the turn goes on."""
    assert failure.reason == reason
