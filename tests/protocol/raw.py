"""Requests that no well-behaved client sends, byte by byte."""

import socket
from collections.abc import Iterable
from http.client import HTTPResponse
from typing import NamedTuple
from urllib.parse import urlsplit


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def exchange(base_url: str, request: Iterable[bytes], *, method: str = "POST") -> Reply:
    """Send the pieces until the server closes or all are sent, and read its reply."""
    address = urlsplit(base_url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), 20) as connection:
        try:
            for piece in request:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server refused what it had read; its reply is there all the same
        response = HTTPResponse(connection, method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read())


def head(method: str, path: str, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: midsentence.test\r\n{lines}\r\n".encode()
