"""Take providers down for seconds, one at a time, and remember when."""

import asyncio
import time
from collections.abc import Sequence
from typing import get_args

from tools.chaos.schedule import Fault
from tools.provider.faults import Outage
from tools.provider.upstream import AttemptsUpstream

Span = tuple[float, float]
OUTAGES: tuple[Outage, ...] = get_args(Outage)


class Outages:
    def __init__(self, providers: Sequence[AttemptsUpstream]) -> None:
        self._providers = providers
        self._is_down = False
        # When each provider was down, in time.monotonic().
        self._spans: list[list[Span]] = [[] for _ in providers]

    @property
    def is_possible(self) -> bool:
        """Whether a provider may go down now: one lives where there are two."""
        return not self._is_down

    async def inject(self, fault: Fault) -> None:
        provider = self._providers[fault.number]
        self._is_down = True
        begun = time.monotonic()
        try:
            if fault.action == "refuses":
                await asyncio.wrap_future(provider.call(provider.go_down()))
                await asyncio.sleep(fault.seconds)
                await asyncio.wrap_future(provider.call(provider.come_back()))
            else:
                outage: Outage = next(outage for outage in OUTAGES if outage == fault.action)
                provider.outage = (outage, begun + fault.seconds)
                await asyncio.sleep(fault.seconds)
                provider.outage = None
        finally:
            self._is_down = False
            self._spans[fault.number].append((begun, time.monotonic()))

    def a_model_lived(self, begin: float, end: float) -> bool:
        """Whether at least one provider was up at each moment."""
        return one_is_always_up(self._spans, begin, end)


def one_is_always_up(downs: Sequence[Sequence[Span]], begin: float, end: float) -> bool:
    """`downs` has the spans of each provider. All are down at some moment only if they are so where one goes down."""
    moments = [begin, *(begun for spans in downs for begun, _ in spans if begin <= begun <= end)]
    return not any(
        all(any(begun <= moment <= ended for begun, ended in spans) for spans in downs) for moment in moments
    )
