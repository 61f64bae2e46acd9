"""How many file descriptors this process may open, and how many are left for clients.

Without a free descriptor the event loop accepts a connection and closes it without an answer (libuv), or does not
accept at all (asyncio). So clients are refused earlier, with an answer.
"""

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress

import structlog

# Where the hard limit is RLIM_INFINITY, a system may reject it as a soft one: Linux beyond fs.nr_open, macOS beyond
# OPEN_MAX.
_FALLBACK_LIMITS = (1 << 20, 10_240)
# Of all descriptors this part, within these bounds, is for everything but streams: requests, Redis, files.
_RESERVED_PART = 8
_RESERVED = (32, 256)
# As many descriptors must be free before `/readyz` answers 200 again; else it would alternate.
_FREE_AGAIN = 8
_CHECK_SECONDS = 1.0
# The key of `Descriptors` in the lifespan's state, and the ASGI extension with the number of a connection's descriptor.
DESCRIPTORS = "midsentence.descriptors"
NUMBER = "midsentence.descriptor"

_logger = structlog.get_logger()


def raise_limit() -> int:
    """Raise the soft limit to the hard one, and return it; sys.maxsize for none."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, *_FALLBACK_LIMITS):
        if limit() < _count(wanted):
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return limit()


def limit() -> int:
    """The soft limit; sys.maxsize for none."""
    return _count(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _count(value: int) -> int:
    return sys.maxsize if value == resource.RLIM_INFINITY else value


class Descriptors:
    """What a connection may be used for, by the number of its descriptor.

    POSIX gives each new descriptor the lowest free number. So the number of a connection tells how many descriptors
    were in use when it was accepted, of whatever kind, and costs no count:

    - below `_streams_below`: for anything.
    - below `_requests_below`: for requests that are answered soon, but for no stream.
    - above: for a refusal. Of those that have sent no request, only the newest are kept.
    """

    def __init__(self, limit: int) -> None:
        reserved = min(max(limit // _RESERVED_PART, _RESERVED[0]), _RESERVED[1], limit // 2)
        self._limit = limit
        self._streams_below = limit - reserved
        self._requests_below = limit - reserved // 2
        self._kept_silent = reserved // 4
        # Connections that have sent no request, the oldest first, with what closes them.
        self._silent: dict[object, Callable[[], None]] = {}
        self._refused = 0
        self._check: asyncio.TimerHandle | None = None

    def allows_stream(self, number: int) -> bool:
        return number < self._streams_below

    def allows_request(self, number: int) -> bool:
        return number < self._requests_below

    @property
    def is_full(self) -> bool:
        """Whether streams are refused, and until some descriptors are free again."""
        if self._check is None and not self.allows_stream(self.lowest_free()):
            self._begin()
        return self._check is not None

    def refuse(self) -> None:
        """Note that a client was refused."""
        self._refused += 1
        if self._check is None:
            self._begin()

    def lowest_free(self) -> int:
        """The number that the next connection would get; the limit where none is free."""
        numbers = self._free(1)
        return numbers[0] if numbers else self._limit

    def keep_silent(self, connection: object, close: Callable[[], None]) -> None:
        """Keep a connection that may only be refused until it sends a request, or until too many others do not."""
        self._silent[connection] = close
        if len(self._silent) > self._kept_silent:
            oldest = next(iter(self._silent))
            self._silent.pop(oldest)()

    def forget_silent(self, connection: object) -> None:
        """The connection sent a request, or was lost."""
        self._silent.pop(connection, None)

    def _begin(self) -> None:
        _logger.warning(
            "descriptors_used_up",
            limit=self._limit,
            effect="new streams are told to come back later, and /readyz answers 503",
            remedy="raise the limit of open files (ulimit -n, LimitNOFILE=, --ulimit nofile=) or add a server",
        )
        self._check_later()

    def _check_later(self) -> None:
        self._check = asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._check_now)

    def _check_now(self) -> None:
        free = self._free(_FREE_AGAIN)
        if len(free) < _FREE_AGAIN or not self.allows_stream(free[-1]):
            self._check_later()
            return
        _logger.info("descriptors_free_again", refused=self._refused)
        self._check, self._refused = None, 0

    def _free(self, count: int) -> list[int]:
        """The lowest numbers that are free, as many as there are up to `count`."""
        numbers: list[int] = []
        with suppress(OSError):
            while len(numbers) < count:
                numbers.append(os.open(os.devnull, os.O_RDONLY))
        for number in numbers:
            os.close(number)
        return numbers
