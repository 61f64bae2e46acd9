"""How many processes a command runs: a number, or `auto` for one on each CPU."""

import os
import sys
from pathlib import Path

from midsentence.errors import CannotStartError

MAX_PROCESSES = 256

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def process_count(option: str, given: str) -> int:
    """Read the value of an option such as `--processes`. Raises CannotStartError."""
    if given == "auto":
        return min(available_cpus(), MAX_PROCESSES)
    if not (given.isascii() and given.isdecimal()) or not 1 <= int(given) <= MAX_PROCESSES:
        raise CannotStartError(
            f"{option} takes a number from 1 to {MAX_PROCESSES}, or `auto` for one on each CPU, but not {given!r}."
        )
    return int(given)


def available_cpus() -> int:
    """The number of CPUs that this process may use, at least 1: those of its affinity, within its cgroup's limit."""
    # os.process_cpu_count is newer than Python 3.11.
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    limit = _cgroup_cpus()
    return cpus if limit is None else max(1, min(cpus, limit))


def _cgroup_cpus() -> int | None:
    """What `docker run --cpus` and systemd's CPUQuota allow, in whole CPUs, or None without such a limit.

    Reads `cpu.max` of cgroup v2: microseconds of CPU time, or `max`, for each period of so many microseconds.
    """
    try:
        own = next(line for line in _OWN_CGROUP.read_text().splitlines() if line.startswith("0::/"))
        quota, period = (_CGROUPS / own.removeprefix("0::/") / "cpu.max").read_text().split()
        return round(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError, StopIteration):  # no cgroup v2, or no limit
        return None
