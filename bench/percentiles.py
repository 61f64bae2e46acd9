"""Percentiles by the nearest rank: each is a measured value, not a bucket of a histogram."""

import math
from collections.abc import Iterable


def percentiles(values: Iterable[float], *ranks: float) -> list[float]:
    """One value for each rank (0 to 100); NaN if there are no values."""
    ordered = sorted(values)
    if not ordered:
        return [math.nan for _ in ranks]
    return [ordered[max(0, math.ceil(len(ordered) * rank / 100) - 1)] for rank in ranks]
