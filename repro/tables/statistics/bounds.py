"""Intervals end where their quantity does: a share is never below 0 or above 1, and no number of hours below 0."""

from repro.tables.measured_table import range_of
from repro.tables.statistics.resampling import Contrast


def bounded(contrast: Contrast, interval: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of a mean cut to the range of its metric (`range_of`); that of a difference as it is."""
    if not contrast or min(contrast.values()) <= 0:
        return interval
    ranges = [range_of(metric) for _, _, metric in contrast]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return min(max(interval[0], low), high), max(min(interval[1], high), low)
