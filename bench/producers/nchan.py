"""Nchan's producer: POSTs pipelined over a few connections that stay open."""

import secrets
import socket
import sys
import time
from contextlib import suppress
from urllib.parse import urlsplit

from bench.producers.pace import TICK_SECONDS, Orders, Pace, print_line, print_ready
from bench.tokens import WIDTH

_CONNECTIONS = 4
_BUFFER = 1 << 18
_ACCEPTED = b"HTTP/1.1 20"


class Publisher:
    """One connection. It counts the answers, so that a refused POST is noticed."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests: list[bytes] = []
        self._awaited = 0
        self._tail: bytes = b""

    def add(self, request: bytes) -> None:
        self._requests.append(request)

    def flush(self) -> None:
        if self._requests:
            self._socket.sendall(b"".join(self._requests))
            self._awaited += len(self._requests)
            self._requests.clear()
        with suppress(BlockingIOError):
            self._count(self._socket.recv(_BUFFER, socket.MSG_DONTWAIT))

    def finish(self) -> None:
        """Wait for the answers to all POSTs. Raises TimeoutError."""
        self._socket.settimeout(10)
        while self._awaited > 0 and (data := self._socket.recv(_BUFFER)):
            self._count(data)

    def _count(self, data: bytes) -> None:
        received = self._tail + data
        self._awaited -= received.count(_ACCEPTED)
        # A read may end in the middle of a status line.
        self._tail = received[-len(_ACCEPTED) + 1 :]


def main() -> None:
    orders = Orders.parse()
    address = urlsplit(orders.url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    names = [secrets.token_hex(16) for _ in range(orders.sessions)]
    heads = [
        b"POST /pub/%b HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % (name.encode(), WIDTH) for name in names
    ]
    publishers = [Publisher(host, port) for _ in range(_CONNECTIONS)]
    print_ready(names)
    if sys.stdin.readline():
        pace = Pace(orders)
        while not pace.is_over:
            for index, text in pace.due():
                # The tokens of one session stay on one connection, or they could overtake each other.
                publishers[index % _CONNECTIONS].add(heads[index] + text)
            for publisher in publishers:
                publisher.flush()
            time.sleep(TICK_SECONDS)
        for publisher in publishers:
            publisher.finish()
        print_line(pace.report())
        sys.stdin.read()


if __name__ == "__main__":
    main()
