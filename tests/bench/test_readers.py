"""The process of the readers, and what it sends."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.audience import Audience, Target

_REQUEST = 'POST /chat HTTP/1.1\r\nHost: bench\r\nContent-Length: 13\r\n\r\n{"text": "a"}'
_RESPONSE = b"HTTP/1.1 200 OK\r\n\r\n: hi\n\nid: 7\ndata: a\n\n"


def test_reader_sends_its_whole_request_and_its_cursor(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        server.settimeout(10)
        target = Target("1", server.getsockname()[1], _REQUEST)
        with Audience(tmp_path, "plain") as audience:
            opening = pool.submit(audience.open, [target], keep=True)
            assert _serve(server) == _REQUEST
            assert opening.result()["opened"] == 1
            assert audience.cut(staying=0) == 1
            reconnecting = pool.submit(audience.reconnect, 1)
            assert _serve(server) == _REQUEST.replace("\r\n\r\n", "\r\nLast-Event-ID: 7\r\n\r\n")
            assert reconnecting.result()["refused"] == 0


def _serve(server: socket.socket) -> str:
    """Answer one request, and return it."""
    connection, _ = server.accept()
    with connection:
        connection.settimeout(10)
        received = b""
        while not received.endswith(b"}"):
            received += connection.recv(1000)
        connection.sendall(_RESPONSE)
        return received.decode()
