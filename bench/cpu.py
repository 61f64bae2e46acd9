"""CPU time, memory and CPU affinity of processes, from the operating system (Linux)."""

import os
import resource
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

_ALLOWED = sorted(os.sched_getaffinity(0))
# The servers under test have one CPU to themselves; Redis, the producer and the readers share the other, so that they
# take no time from a server.
SERVERS = _ALLOWED[0]
REST = _ALLOWED[-1]
# Where there is a worker, it has a CPU to itself, and all other processes are spread over the rest.
WORKER = _ALLOWED[0]
_OTHERS = _ALLOWED[1:] or _ALLOWED


def placement() -> str:
    if len(_ALLOWED) == 1:
        return "one CPU for all processes: latencies include the waits for the readers, the producer and Redis"
    others = " and ".join(map(str, sorted({other(0), other(1), other(2), REST})))
    return (
        f"servers on CPU {SERVERS}, Redis, producer and readers on CPU {REST}; in a house the worker on CPU {WORKER}, "
        f"server, Redis, provider and readers on CPU {others}"
    )


def other(number: int) -> int:
    """The CPU of the process with this number beside a worker."""
    return _OTHERS[number % len(_OTHERS)]


@contextmanager
def pinned_to(cpu: int) -> Generator[None]:
    """Processes that are started in this context run on this CPU alone, from their first instruction."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def spent_ns(pids: Iterable[int]) -> int:
    """The CPU time of whole processes so far, including threads that have ended."""
    return sum(time.clock_gettime_ns(_clock(pid)) for pid in pids)


def _clock(pid: int) -> int:
    # What clock_getcpuclockid(3) returns on Linux (include/linux/posix-timers_types.h): ~pid, then CPUCLOCK_SCHED,
    # which counts nanoseconds and not ticks.
    return (~pid << 3) | 2


def resident_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: a page that several processes share is counted once in total."""
    return sum(_pss(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in pids)


def _pss(rollup: str) -> int:
    line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def raise_file_limit() -> int:
    """Raise the limit of open files, for this process and its children, to the hard limit, which is returned."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
