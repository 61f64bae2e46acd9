"""A circuit breaker for each model, common to all workers: a provider that is down is not asked by every turn.

The rules:

- MIDSENTENCE_BREAKER_FAILURES failures in a row, within a minute, open the breaker for MIDSENTENCE_BREAKER_SECONDS.
  Only failures before the first token count, and one success begins the count anew.
- After that time one call among those of all workers is the probe. Its success closes the breaker; its failure opens it
  for twice the time before, at most for a minute.
- A provider that refuses and says when to ask again (Retry-After) opens it for that time at once, at most for ten
  minutes.
- A breaker must never be the reason why no answer comes: where Redis does not answer, the model is asked.

All times are on the clock of Redis. Each key has a time to live, and a worker that dies with the probe loses it after
five seconds.
"""

import asyncio
import random
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from midsentence.events import Failure
from midsentence.store.scripts import Request, Script
from midsentence.store.store import Store

_PARTS = ("common", "breaker")
_VIEW = Script("breaker_view", behind=_PARTS)
_ADMIT = Script("breaker_admit", behind=_PARTS)
_FAIL = Script("breaker_fail", behind=_PARTS)
_SUCCEED = Script("breaker_succeed", behind=_PARTS)
_RELEASE = Script("breaker_release", behind=_PARTS)

_REFRESH_SECONDS = 1.0
# A turn that never tells how its probe ended would keep the model from all others. No call takes longer to its first
# token: beyond its time-out a model is silent, and that is a failure.
_LONGEST_PROBE_SECONDS = 300.0

# breaker.lua shortens it further. A provider may name any number, and some have no such time in milliseconds.
_LONGEST_ASKED_SECONDS = 86400.0

_CLOSED, _FAILING, _OPEN = 0, 1, 2

_logger = structlog.get_logger()
_encode = msgspec.json.encode
_failure = msgspec.json.Decoder(Failure).decode


@dataclass
class _Breaker:
    """What this worker knows of one breaker. Times are those of the event loop."""

    state: int = _CLOSED
    ask_at: float = 0.0
    """While it is open: the time before which nobody needs to ask Redis."""
    failure: Failure | None = None
    probe_ends: float | None = None
    """While a call of this worker is the probe: the time at which it is given up."""


class Breakers:
    """The breakers of a worker's models.

    `run` keeps the worker's view of them up to date; while it does not run, only this worker's own failures are seen.
    Each call for which `admit` returned 0.0 is followed by one of `failed`, `succeeded` and `released`. None of them
    raises an error of Redis.
    """

    def __init__(self, store: Store, models: Iterable[str]) -> None:
        """`models` are the names of all models that this worker may ask."""
        settings = store.settings
        self._store = store
        self._limit = settings.breaker_failures
        self._wait = int(settings.breaker_seconds * 1000)
        self._worker = secrets.token_urlsafe(9)
        self._breakers = {name: _Breaker() for name in models}

    async def admit(self, model: str) -> float:
        """Ask whether the model may be asked now, for an answer that has not begun.

        Returns 0.0, or the seconds after which to ask this again; `failure` says what is wrong then. It sends nothing
        while the breaker is closed, nor while it is known to be open.
        """
        breaker = self._breakers[model]
        if breaker.state != _OPEN:
            return 0.0
        now = asyncio.get_running_loop().time()
        if now < breaker.ask_at:
            return breaker.ask_at - now
        wait = await self._run(model, _ADMIT)
        if wait == 0.0 and breaker.state == _OPEN:
            breaker.probe_ends = now + _LONGEST_PROBE_SECONDS
            # Another turn of this worker waits, as those of other workers do.
            breaker.ask_at = now + _REFRESH_SECONDS
            _logger.info("model_probed", model=model)
        return wait

    def failure(self, model: str) -> Failure | None:
        """What failed last, where the breaker is open: the provider's own words, for a turn that may not ask it."""
        breaker = self._breakers[model]
        return breaker.failure if breaker.state == _OPEN else None

    async def failed(self, model: str, failure: Failure, retry_after: float | None = None) -> None:
        """Count a call that failed before its first token. `retry_after`: the seconds for which the provider asks.

        Not for a failure that is the question's own, such as one that the provider refuses for its content: `released`
        is for that.
        """
        if not self._limit:
            return
        breaker = self._breakers[model]
        was_open, breaker.probe_ends = breaker.state == _OPEN, None
        asked = 0 if retry_after is None else int(min(max(retry_after, 0.0), _LONGEST_ASKED_SECONDS) * 1000)
        await self._run(model, _FAIL, _encode(failure), self._limit, self._wait, asked)
        if breaker.state == _OPEN and not was_open:
            seconds = round(breaker.ask_at - asyncio.get_running_loop().time(), 1)
            _logger.warning("model_not_asked", model=model, seconds=seconds, error=failure.message)

    async def succeeded(self, model: str) -> None:
        """Note the first token of an answer. It sends nothing while nothing is wrong."""
        breaker = self._breakers[model]
        if breaker.state == _CLOSED:
            return
        was_open, breaker.probe_ends = breaker.state == _OPEN, None
        await self._run(model, _SUCCEED)
        if was_open and breaker.state == _CLOSED:
            _logger.info("model_answers", model=model)

    async def released(self, model: str) -> None:
        """Note a call that says nothing about the model: it was stopped before its first token, for example."""
        breaker = self._breakers[model]
        if breaker.probe_ends is not None:
            breaker.probe_ends = None
            await self._run(model, _RELEASE)

    async def run(self) -> None:
        """Read the state of all breakers once a second, in one round trip, until cancelled."""
        while self._limit:
            await self.refresh()
            # Random, so that workers do not all ask at the same moment.
            await asyncio.sleep(_REFRESH_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311

    async def refresh(self) -> None:
        """Read the state of all breakers, and keep the probes of this worker."""
        now = asyncio.get_running_loop().time()
        requests: list[Request] = []
        for model, breaker in self._breakers.items():
            if breaker.probe_ends is not None and breaker.probe_ends <= now:
                breaker.probe_ends = None
            requests.append(self._request(model, _VIEW, int(breaker.probe_ends is not None)))
        replies = await self._store.execute_all(requests)
        for breaker, reply in zip(self._breakers.values(), replies, strict=True):
            _take(breaker, reply)

    async def _run(self, model: str, script: Script, *arguments: bytes | int) -> float:
        """Run a script and take its reply. Returns the seconds to wait before the model is asked."""
        (reply,) = await self._store.execute_all([self._request(model, script, *arguments)])
        return _take(self._breakers[model], reply)

    def _request(self, model: str, script: Script, *arguments: bytes | int) -> Request:
        return script.request([self._store.keys.breaker(model)], (self._worker, *arguments))


def _take(breaker: _Breaker, reply: Any) -> float:
    if isinstance(reply, Exception):
        # Redis does not answer, or its user may not do this.
        breaker.state, breaker.failure = _CLOSED, None
        return 0.0
    state, milliseconds, failure = reply
    now = asyncio.get_running_loop().time()
    breaker.state, breaker.ask_at = state, now + milliseconds / 1000
    breaker.failure = None
    # Another version may have written another form.
    with suppress(msgspec.MsgspecError):
        breaker.failure = _failure(failure) if failure else None
    return milliseconds / 1000
