"""Percentiles by the nearest rank, of values that were measured and not of a histogram's."""

import math
from collections.abc import Iterable


def percentiles(values: Iterable[float], *ranks: float) -> list[float]:
    """One value for each rank (0 to 100); NaN where there are no values."""
    ordered = sorted(values)
    if not ordered:
        return [math.nan for _ in ranks]
    return [ordered[max(0, math.ceil(len(ordered) * rank / 100) - 1)] for rank in ranks]
