"""A reader that attaches late: first and last byte, and the cost, for a long answer and for a short one."""

import socket
import time
from collections.abc import Iterator

from bench import cpu
from bench.audience import Target
from bench.contender import Contender, Load
from bench.contenders.midsentence import Midsentence
from bench.percentiles import percentiles
from bench.scan import Scan, Tally
from bench.scenario import Outcome, Scenario, Setting

_SHORT = 200
_LONG = 20_000
_RATE = 8_000
_TIMES = 10
# If an attach takes seconds, those that fit in this time are enough, but at least three.
_ENOUGH_SECONDS = 4.0
_LEAST = 3
_LIMIT_SECONDS = 10
_BUFFER = 1 << 20
_AFTERWARDS_SECONDS = 0.1


def run(contender: Contender, setting: Setting) -> Iterator[Outcome]:
    # Only midsentence has an end of an answer, and it keeps a finished answer in another form.
    for finished in (False, True) if isinstance(contender, Midsentence) else (False,):
        with contender.running(setting.fresh()):
            for tokens in (_SHORT, setting.many(_LONG, 1000)):
                figures = _attached(contender, tokens, finished)
                yield Outcome({"tokens": tokens, "finished": finished}, figures)


def _attached(contender: Contender, tokens: int, finished: bool) -> dict[str, float]:
    # The second session warms the server up, at the same size.
    load = Load(2, _RATE, tokens / _RATE, end=finished)
    with contender.producer(load) as producer:
        measured, warming = producer.receive()["sessions"]
        producer.send("go")
        producer.receive(60)
        _attach(contender.target(warming, 0), tokens)
        before = cpu.spent_ns(contender.server_pids), cpu.spent_ns(contender.redis_pids)
        begun = time.monotonic()
        attaches: list[tuple[float, float, int]] = []
        while len(attaches) < _LEAST or (len(attaches) < _TIMES and time.monotonic() - begun < _ENOUGH_SECONDS):
            attaches.append(_attach(contender.target(measured, 0), tokens))
        after = cpu.spent_ns(contender.server_pids), cpu.spent_ns(contender.redis_pids)
    server, redis = ((end - begin) / 1000 / len(attaches) for begin, end in zip(before, after, strict=True))
    first, last, missing = zip(*attaches, strict=True)
    figures = {
        "first_byte_ms": percentiles(first, 50)[0],
        "last_byte_ms": percentiles(last, 50)[0],
        "server_us_per_attach": server,
        "missing": float(sum(missing)),
    }
    return {**figures, "redis_us_per_attach": redis} if contender.uses_redis else figures


def _attach(target: Target, tokens: int) -> tuple[float, float, int]:
    """Milliseconds from connect to the first byte and to the last token, and the number of wrong tokens."""
    last, received, edge = b"~%d." % (tokens - 1), list[bytes](), b""
    begun = time.monotonic_ns()
    with socket.create_connection(("127.0.0.1", target.port), _LIMIT_SECONDS) as connection:
        connection.sendall(target.request.encode())
        first = now = 0
        # Search for the last token only; the others are counted after the clock has stopped.
        while last not in edge + (received[-1] if received else b""):
            edge = received[-1][-len(last) :] if received else b""
            try:
                received.append(connection.recv(_BUFFER))
            except TimeoutError:
                break
            now = time.monotonic_ns()
            first = first or now
            if not received[-1]:
                break
    scan, tally = Scan(), Tally()
    scan.feed(b"".join(received), now, tally)
    # The server's work for the reader's departure belongs to the attach.
    time.sleep(_AFTERWARDS_SECONDS)
    wrong = tally.missing + tally.duplicates + tokens - scan.expected
    return (first - begun) / 1e6, (now - begun) / 1e6, wrong


SCENARIO = Scenario("replay", run)
