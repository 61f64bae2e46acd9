"""Processor time, memory and places of processes, all from the operating system (Linux)."""

import os
import resource
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

_ALLOWED = sorted(os.sched_getaffinity(0))
# The servers under test have one processor to themselves; Redis, the producer and the readers share the other, so
# that nobody but another server's load can take time away from a server.
SERVERS = _ALLOWED[0]
REST = _ALLOWED[-1]


def places() -> str:
    if len(_ALLOWED) == 1:
        return "one CPU for everything: latencies include the waits for the readers, the producer and Redis"
    return f"servers on CPU {SERVERS}, Redis, producer and readers on CPU {REST}"


@contextmanager
def on(cpu: int) -> Generator[None]:
    """Whatever is started meanwhile runs on this CPU alone, from its first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def spent_ns(pids: Iterable[int]) -> int:
    """The CPU time of whole processes so far, their ended threads included."""
    return sum(time.clock_gettime_ns(_clock(pid)) for pid in pids)


def _clock(pid: int) -> int:
    # clock_getcpuclockid(3) in Linux' words (include/linux/posix-timers_types.h): ~pid, then CPUCLOCK_SCHED, which
    # counts nanoseconds and not ticks.
    return (~pid << 3) | 2


def resident_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: pages that several processes share are counted once in all."""
    return sum(_pss(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in pids)


def _pss(rollup: str) -> int:
    line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def raise_file_limit() -> int:
    """Allow this process and its children as many open files as the system lets them; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
