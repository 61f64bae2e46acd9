"""The form of every refusal (protocol 2.1)."""

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
    assert len(body["error"]["message"]) > len("Not so."), "the message must say what to do"
    return body["error"]["code"]


def seen(response: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """Everything by which a client could distinguish two refusals; the date is no part of it."""
    headers = {name: value for name, value in response.headers.items() if name != "date"}
    return response.status_code, response.content, headers
