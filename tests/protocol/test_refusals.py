"""Section 2: every refusal that a client can provoke."""

from collections.abc import Iterator

import pytest

from tests.protocol.questions import SHORT
from tests.protocol.raw import exchange, head
from tests.protocol.refused import assert_refused, code_of
from tests.support.client import Visitor

# Defaults of MIDSENTENCE_MAX_BODY_BYTES and MIDSENTENCE_MAX_TEXT_CHARS.
MAX_BODY = 1_048_576
MAX_TEXT = 100_000
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"text", b'{"text": "x"', b"{'text': 'x'}", b'{"text": "x"} y', b'{"text": "\xff\xfe"}', b"\x00"],
    ids=repr,
)
def test_a_body_that_is_not_json_is_refused(visitor: Visitor, body: bytes) -> None:
    """2.1: 400 invalid_json."""
    assert_refused(visitor.http.post("/sessions", content=body, headers=JSON), 400, "invalid_json")


def test_a_lone_surrogate_is_refused(visitor: Visitor) -> None:
    r"""2.1: `"\ud83d"` is valid JSON and no text; once stored it could not be encoded as UTF-8."""
    response = visitor.http.post("/sessions", content=rb'{"text": "\ud83d"}', headers=JSON)
    assert response.status_code in {400, 422}
    assert code_of(response.content, response.headers) in {"invalid_json", "invalid_body"}


def test_a_body_nested_a_hundred_thousand_deep_is_refused(visitor: Visitor) -> None:
    """2.1: nesting must not exhaust the parser's stack."""
    deep = b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    response = visitor.http.post("/sessions", content=deep, headers=JSON)
    assert_refused(response, 422, "invalid_body")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""],
)
def test_a_body_of_another_media_type_is_refused(visitor: Visitor, content_type: str) -> None:
    """2.1: 415: only a type that no HTML form can send is accepted."""
    headers = {"Content-Type": content_type}
    response = visitor.http.post("/sessions", content=b'{"text": "x"}', headers=headers)
    assert_refused(response, 415, "unsupported_media_type")


def test_a_body_without_a_media_type_is_refused(base_url: str) -> None:
    """2.1: 415 where Content-Type is missing."""
    body = b'{"text": "x"}'
    reply = exchange(base_url, [head("POST", "/sessions", Content_Length=str(len(body))), body])
    assert (reply.status, code_of(reply.body, reply.headers)) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json ;a=b"]
)
def test_a_media_type_may_have_parameters_and_any_case(visitor: Visitor, content_type: str) -> None:
    """2.1: RFC 9110, 8.3.1."""
    headers = {"Content-Type": content_type}
    response = visitor.http.post("/sessions", content=f'{{"text": "{SHORT}"}}'.encode(), headers=headers)
    assert response.status_code == 202


def test_a_text_over_the_limit_is_refused(visitor: Visitor) -> None:
    """2.1: 413 text_too_long; characters are counted, not bytes, and the limit itself is allowed."""
    longest = SHORT + " " + "🙂" * (MAX_TEXT - len(SHORT) - 1)
    assert len(longest) == MAX_TEXT
    session_id = visitor.start(longest)
    assert visitor.http.get(f"/sessions/{session_id}").json()["messages"][0]["text"] == longest
    assert_refused(visitor.http.post("/sessions", json={"text": longest + "!"}), 413, "text_too_long")
    response = visitor.http.post(f"/sessions/{session_id}/messages", json={"text": longest + "!"})
    assert_refused(response, 413, "text_too_long")


def test_a_body_announced_as_too_large_is_refused(base_url: str) -> None:
    """2.1: 413 body_too_large by Content-Length."""
    size = MAX_BODY + 1
    announced = head("POST", "/sessions", Content_Type="application/json", Content_Length=str(size))
    reply = exchange(base_url, [announced, b" " * size])
    assert (reply.status, code_of(reply.body, reply.headers)) == (413, "body_too_large")


@pytest.mark.parametrize("megabytes", [2, 200])
def test_a_chunked_body_that_grows_too_large_is_refused(base_url: str, megabytes: int) -> None:
    """2.1: 413 body_too_large where no length is announced; the server stops reading an endless body."""
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        yield head("POST", "/sessions", Content_Type="application/json", Transfer_Encoding="chunked")
        for _ in range(megabytes):
            yield b"100000\r\n" + b" " * MAX_BODY + b"\r\n"
            sent += 1
        yield b"0\r\n\r\n"

    reply = exchange(base_url, chunks())
    assert sent < 100
    assert (reply.status, code_of(reply.body, reply.headers)) == (413, "body_too_large")


def test_a_body_of_the_largest_size_is_accepted(visitor: Visitor) -> None:
    """2.1: the limit itself is allowed: white space around a small message."""
    message = f'{{"text": "{SHORT}"}}'.encode()
    padded = message + b" " * (MAX_BODY - len(message))
    assert visitor.http.post("/sessions", content=padded, headers=JSON).status_code == 202
    response = visitor.http.post("/sessions", content=padded + b" ", headers=JSON)
    assert_refused(response, 413, "body_too_large")


@pytest.mark.parametrize("path", ["/nothing", "/sessions/x/y", "/sessions/x/events/y", "/v1", "/page/../../secret"])
def test_an_unknown_path_is_not_found(anonymous: Visitor, path: str) -> None:
    """2.1: 404 in the form of every refusal."""
    assert_refused(anonymous.http.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/sessions", {"GET", "POST"}),
        ("DELETE", "/sessions", {"GET", "POST"}),
        ("POST", "/sessions/{id}", {"GET", "PATCH", "DELETE"}),
        ("PUT", "/sessions/{id}", {"GET", "PATCH", "DELETE"}),
        ("GET", "/sessions/{id}/messages", {"POST"}),
        ("PUT", "/sessions/{id}/messages", {"POST"}),
        ("POST", "/sessions/{id}/events", {"GET"}),
        ("PUT", "/sessions/{id}/events", {"GET"}),
        ("DELETE", "/sessions/{id}/events", {"GET"}),
        ("OPTIONS", "/sessions/{id}/events", {"GET"}),
        ("POST", "/push", {"GET"}),
        ("PUT", "/push", {"GET"}),
        ("POST", "/", {"GET"}),
        ("POST", "/healthz", {"GET"}),
    ],
)
def test_a_wrong_method_is_refused_with_allow(visitor: Visitor, method: str, path: str, allowed: set[str]) -> None:
    """2.1: 405, and `Allow` names every method of the route (RFC 9110, 15.5.6)."""
    session_id = visitor.start(SHORT)
    response = visitor.http.request(method, path.format(id=session_id))
    assert_refused(response, 405, "method_not_allowed")
    named = {name.strip() for name in response.headers["allow"].split(",")}
    assert named - {"HEAD"} == allowed


def test_no_refusal_may_be_cached(visitor: Visitor) -> None:
    """2.1: a 404 in a proxy's cache would outlive its reason."""
    refusals = [
        visitor.http.get("/sessions/00AAAAAAAAAAAAAAAAAAAAAA"),
        visitor.http.post("/sessions", content=b"{", headers=JSON),
        visitor.http.get("/nothing"),
    ]
    for response in refusals:
        assert response.status_code >= 400
        assert response.headers["cache-control"] == "no-store"
