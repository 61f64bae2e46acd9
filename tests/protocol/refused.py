"""What every refusal looks like (protocol 2.1)."""

import json
from collections.abc import Mapping
from typing import Any

import httpx


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, code_of(response.content, response.headers)) == (status, code), response.text


def code_of(content: bytes, headers: Mapping[str, str]) -> str:
    assert headers["content-type"] == "application/json"
    body: Any = json.loads(content)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert len(body["error"]["message"]) > len("Not so."), "a sentence that says what to do"
    return body["error"]["code"]


def seen(response: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """All that a client can tell two refusals apart by; the clock is no part of it."""
    headers = {name: value for name, value in response.headers.items() if name != "date"}
    return response.status_code, response.content, headers
