"""`python -m bench.readers`: all readers in one process, which takes commands as JSON lines (`audience.py`).

It shares its CPU with Redis and the producer, so it does as little as possible: one recv for each readable socket,
and one regular expression over its bytes.
"""

import errno
import gc
import json
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.percentiles import percentiles
from bench.scan import Scan, Tally
from bench.tokens import numbers
from bench.transcripts import Folding, Transcript

_BUFFER = 1 << 16
_EVENTS = 1024
# The kernel then chooses the port at connect(), when it knows the server: the port is taken for that server alone.
_IP_BIND_ADDRESS_NO_PORT = 24
_PER_ADDRESS = 5000
_POLL_SECONDS = 0.05


class Connection:
    """One reader over all of its connections."""

    __slots__ = ("began", "first", "port", "received", "request", "scan", "session", "socket", "stage", "text")

    def __init__(self, session: str, port: int, request: bytes, folding: Folding) -> None:
        self.session = session
        self.port = port
        self.request = request
        self.scan = Scan()
        self.text = Transcript(folding)
        self.received: list[bytes] = []
        self.socket: socket.socket | None = None
        self.stage = "closed"  # then connecting, asking, reading; or refused, lost
        self.began = self.first = 0


class Readers:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._readers: list[Connection] = []
        self._by_fd: dict[int, Connection] = {}
        self._tally = Tally()
        self._asked = False
        self._keep = False
        self._awaited = 0
        self._lost = 0
        self._reads = 0
        self._source = 0

    def run(self) -> None:
        while True:
            self._asked = False
            self._pump(lambda: self._asked, None)
            line = sys.stdin.buffer.raw.readline()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
            if not line:
                return
            order: dict[str, Any] = json.loads(line)  # pyright: ignore[reportUnknownArgumentType]
            answer = getattr(self, order.pop("do"))(**order)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    # The commands

    def open(self, path: str, folding: Folding, keep: bool, at_once: int, limit: float) -> dict[str, float]:
        """Connect all, `at_once` at a time, and wait for the first bytes of each."""
        self._keep = keep
        with open(path) as file:  # noqa: PTH123 - the path is a plain string
            targets = json.load(file)
        new = [Connection(session, port, request.encode(), folding) for session, port, request in targets]
        self._readers += new
        return self._connect(new, at_once, limit)

    def begin(self) -> dict[str, float]:
        """Reset the counts: a window begins."""
        del self._tally.delays[:]
        self._reads = 0
        return {"lost": self._lost}

    def end(self) -> dict[str, float]:
        delays = self._tally.delays
        p50, p99, p999 = (value / 1e6 for value in percentiles(delays, 50, 99, 99.9))
        # Below 1 if tokens arrived together, because the relay batches them or because a process is late.
        reads = self._reads / max(1, len(delays))
        delays_ms = {"p50_ms": p50, "p99_ms": p99, "p999_ms": p999}
        return {"delivered": len(delays), **delays_ms, "reads_per_token": reads}

    def finish(self, tokens: dict[str, int], limit: float) -> dict[str, float]:
        """Wait until every reader has all tokens of its session. Those that come after the limit are missing."""
        waiting = [reader for reader in self._readers if reader.stage == "reading"]

        def is_over() -> bool:
            # Most calls check only the last reader.
            while waiting and waiting[-1].scan.expected >= tokens[waiting[-1].session]:
                waiting.pop()
            return not waiting

        self._pump(is_over, time.monotonic() + limit)
        # A refused reader is counted as refused, and not as missing its tokens.
        accepted = (reader for reader in self._readers if reader.stage != "refused")
        behind = sum(max(0, tokens[reader.session] - reader.scan.expected) for reader in accepted)
        return {
            "missing": self._tally.missing + behind,
            "behind": behind,
            "duplicates": self._tally.duplicates,
            "lost": self._lost,
            "last_ns": time.monotonic_ns(),
        }

    def cut(self, staying: int) -> dict[str, float]:
        """Cut all connections but those of the first `staying` readers of each session."""
        stays: dict[str, int] = {}
        count = 0
        for reader in self._readers:
            stays[reader.session] = stays.get(reader.session, 0) + 1
            if stays[reader.session] > staying:
                self._drop(reader, "cut")
                count += 1
        return {"cut": count}

    def reconnect(self, limit: float) -> dict[str, float]:
        """All cut readers reconnect at once, with their cursor if they have one, and wait for a token."""
        cut = [reader for reader in self._readers if reader.stage == "cut"]
        for reader in cut:
            reader.text.take(b"".join(reader.received))
            reader.received.clear()
            reader.scan = Scan()
        begun = time.monotonic_ns()
        opened = self._connect(cut, len(cut), limit)
        pending = list(cut)
        came: list[float] = []

        def is_over() -> bool:
            while pending and (pending[-1].scan.expected > 0 or pending[-1].stage != "reading"):
                pending.pop()
            return not pending

        self._pump(is_over, time.monotonic() + limit)
        came = [(reader.first - begun) / 1e9 for reader in cut if reader.first > 0 and reader.scan.expected > 0]
        p50, p99, longest = percentiles(came, 50, 99, 100)
        return {"back": len(came), "refused": opened["refused"], "p50_s": p50, "p99_s": p99, "max_s": longest}

    def texts(self, tokens: int) -> dict[str, int]:
        """How many readers have the exact text: every token once, in order, and the same text in the whole session."""
        agreed: dict[str, bytes] = {}
        exact = 0
        for reader in self._readers:
            reader.text.take(b"".join(reader.received))
            reader.received.clear()
            whole = numbers(reader.text.text) == list(range(tokens))
            exact += whole and agreed.setdefault(reader.session, reader.text.text) == reader.text.text
        return {"exact": exact, "wrong": len(self._readers) - exact}

    def held(self) -> dict[str, float]:
        """How many connections are open."""
        return {"held": sum(reader.stage == "reading" for reader in self._readers)}

    def close(self) -> dict[str, float]:
        for reader in self._readers:
            self._drop(reader, "closed")
        self._readers.clear()
        self._tally = Tally()
        self._lost = 0
        return {}

    # The sockets

    def _connect(self, readers: list[Connection], at_once: int, limit: float) -> dict[str, float]:
        begun = time.monotonic_ns()
        waiting = list(reversed(readers))
        deadline = time.monotonic() + limit
        self._awaited = 0

        def is_over() -> bool:
            while waiting and self._awaited < at_once:
                self._begin(waiting.pop())
            return self._awaited == 0

        self._pump(is_over, deadline)
        delays = [(reader.first - reader.began) / 1e6 for reader in readers if reader.stage == "reading"]
        for reader in readers:
            if reader.stage in {"connecting", "asking"}:
                self._drop(reader, "refused")
        p50, p99 = percentiles(delays, 50, 99)
        seconds = (time.monotonic_ns() - begun) / 1e9
        opened = len(delays)
        counts = {"opened": opened, "refused": len(readers) - opened, "seconds": seconds}
        return {**counts, "p50_ms": p50, "p99_ms": p99, "began_ns": begun}

    def _begin(self, reader: Connection) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        # Each address of the loopback network has its own range of ports.
        self._source += 1
        host, rest = divmod(self._source // _PER_ADDRESS, 250)
        sock.bind((f"127.0.{host}.{rest + 2}", 0))
        reader.socket = sock
        reader.began = time.monotonic_ns()
        reader.first = 0
        reader.stage = "connecting"
        self._awaited += 1
        self._by_fd[sock.fileno()] = reader
        if sock.connect_ex(("127.0.0.1", reader.port)) not in {0, errno.EINPROGRESS}:
            self._drop(reader, "refused")
            self._awaited -= 1
        else:
            self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _pump(self, is_over: Callable[[], bool], deadline: float | None) -> None:
        """Serve every socket until `is_over` or the deadline."""
        by_fd, tally, poll, clock = self._by_fd, self._tally, self._epoll.poll, time.monotonic_ns
        while not is_over() and (deadline is None or time.monotonic() < deadline):
            for fd, _ in poll(_POLL_SECONDS, _EVENTS):
                reader = by_fd.get(fd)
                if reader is None:
                    self._asked = True
                    continue
                if reader.stage != "reading":
                    self._advance(reader)
                    continue
                try:
                    data = reader.socket.recv(_BUFFER)  # pyright: ignore[reportOptionalMemberAccess]  # it is reading
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    self._lost += 1
                    self._drop(reader, "lost")
                    continue
                now = clock()
                self._reads += 1
                if self._keep:
                    self._note(reader, data, now)
                else:
                    reader.scan.feed(data, now, tally)
            if deadline is None and self._asked:
                return

    def _note(self, reader: Connection, data: bytes, now: int) -> None:
        """Keep the bytes, and the time of the first token of this connection."""
        reader.received.append(data)
        was = reader.scan.expected
        reader.scan.feed(data, now, self._tally)
        if was == 0 and reader.scan.expected > 0:
            reader.first = now

    def _advance(self, reader: Connection) -> None:
        assert reader.socket is not None  # noqa: S101 - it has an event
        try:
            if reader.stage == "connecting":
                request, cursor = reader.request, reader.text.cursor
                if cursor is not None:
                    request = request.replace(b"\r\n\r\n", b"\r\nLast-Event-ID: %b\r\n\r\n" % cursor.encode(), 1)
                reader.socket.send(request)
                reader.stage = "asking"
                self._epoll.modify(reader.socket.fileno(), select.EPOLLIN)
                return
            data = reader.socket.recv(_BUFFER)
        except OSError:
            data = b""
        self._awaited -= 1
        if not data.startswith(b"HTTP/1.1 200"):
            self._drop(reader, "refused")
            return
        reader.stage = "reading"
        now = time.monotonic_ns()
        reader.first = now
        if self._keep:
            self._note(reader, data, now)
        else:
            reader.scan.feed(data, now, self._tally)

    def _drop(self, reader: Connection, stage: str) -> None:
        if reader.socket is not None:
            self._by_fd.pop(reader.socket.fileno(), None)
            reader.socket.close()
            reader.socket = None
        reader.stage = stage


if __name__ == "__main__":
    # Nothing here makes reference cycles, and a collection over all readers would look like a pause of the relay.
    gc.disable()
    Readers().run()
