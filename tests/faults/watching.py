"""Observe a running stack: a reader's events, the worker that holds a turn, the entries of a log."""

from collections.abc import Callable, Iterator
from typing import Any, cast

from redis import Redis

from tests.support.client import SentEvent, Transcript
from tests.support.keys import KEYS
from tests.support.processes import Stack, WorkerChild
from tests.support.waiting import wait_until


def take_until(transcript: Transcript, events: Iterator[SentEvent], enough: Callable[[], object]) -> None:
    """Read until `enough` holds; a stream that ends before that fails the test."""
    while not enough():
        event = next(events, None)
        assert event is not None, f"the stream ended after {[event.type for event in transcript.events]}"
        transcript.take(event)


def kinds(transcript: Transcript) -> list[str]:
    """The types of the log's events in order, each run of deltas once."""
    types = [event.type for event in transcript.events if event.id is not None]
    return [kind for number, kind in enumerate(types) if number == 0 or kind != types[number - 1] or kind != "delta"]


def holder(stack: Stack, session_id: str) -> WorkerChild:
    """The running worker that holds the lease of this session's turn."""
    return next(
        worker for worker in stack.workers if worker.is_running and worker.process.pid == _pid(stack, session_id)
    )


def wait_for_another(stack: Stack, session_id: str, than: WorkerChild) -> None:
    wait_until(
        lambda: _pid(stack, session_id) not in {0, than.process.pid}, description="another worker took the turn over"
    )


def is_claimable(stack: Stack, session_id: str) -> bool:
    """Whether the turn waits for a worker: it has no lease, or an expired one."""
    with redis_of(stack) as redis:
        seconds, microseconds = redis.time()  # pyright: ignore[reportUnknownMemberType]
        due = redis.zscore(KEYS.session(session_id).jobs, session_id)
    return due is not None and due <= seconds * 1000 + microseconds / 1000


def _pid(stack: Stack, session_id: str) -> int:
    with redis_of(stack) as redis:
        name = cast("bytes | None", redis.hget(KEYS.session(session_id).meta, "lease"))
    # <host>:<pid>:<noise> <turn>.<epoch>
    return int(name.split(b":")[-2]) if name else 0


def log_of(stack: Stack, session_id: str) -> list[Any]:
    """Every entry of the session's log as Redis holds it."""
    with redis_of(stack) as redis:
        return cast("list[Any]", redis.xrange(KEYS.session(session_id).log))  # pyright: ignore[reportUnknownMemberType]


def redis_of(stack: Stack) -> Redis:
    return Redis.from_url(stack.redis.url)  # pyright: ignore[reportUnknownMemberType]
