"""The schedule of the tokens, and the command line of a producer."""

import argparse
import json
import sys
import time
from dataclasses import dataclass

from bench.tokens import token

# A producer checks this often for tokens that are due, which come for many turns at once, as a model's bytes do.
TICK_SECONDS = 0.001


@dataclass(frozen=True)
class Orders:
    sessions: int
    rate: float
    seconds: float
    url: str
    end: bool

    @classmethod
    def parse(cls) -> "Orders":
        parser = argparse.ArgumentParser()
        parser.add_argument("--sessions", type=int, required=True)
        parser.add_argument("--rate", type=float, required=True, help="tokens a second in each session")
        parser.add_argument("--seconds", type=float, required=True)
        parser.add_argument("--url", required=True)
        parser.add_argument("--end", action="store_true", help="end the answers after their last tokens")
        given = parser.parse_args()
        return cls(given.sessions, given.rate, given.seconds, given.url, given.end)


class Pace:
    """One schedule over all sessions: token number k belongs to session k mod N and is due k / (N·R) seconds after go.

    A producer that is late sends all due tokens at once, so the rate holds; a token is stamped when it is sent.
    """

    def __init__(self, orders: Orders) -> None:
        self._sessions = orders.sessions
        self._per_second = orders.sessions * orders.rate
        self.total = round(self._per_second * orders.seconds)
        self.sent = 0
        self._begun = time.monotonic()
        self._cpu = time.process_time_ns()
        self._driven = 0

    @property
    def is_over(self) -> bool:
        return self.sent >= self.total

    def due(self) -> list[tuple[int, bytes]]:
        """The tokens that have become due since the last call, each with its session's index."""
        begun = time.thread_time_ns()
        before = self.sent
        elapsed = time.monotonic() - self._begun
        self.sent = min(self.total, int(elapsed * self._per_second) + 1)
        due = [(k % self._sessions, token(k // self._sessions)) for k in range(before, self.sent)]
        self._driven += time.thread_time_ns() - begun
        return due

    def report(self) -> str:
        cpu = time.process_time_ns() - self._cpu
        # A worker gets its tokens from a model, so the time spent in `due` is no part of an append.
        return json.dumps({"sent": self.total, "cpu_ns": cpu, "driver_ns": self._driven})


def print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_ready(sessions: list[str]) -> None:
    print_line(json.dumps({"ready": True, "sessions": sessions}))
