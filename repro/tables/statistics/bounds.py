"""Clip intervals to the range of their quantity: a share lies in 0..1, and hours are never negative."""

from repro.tables.measured_table import range_of
from repro.tables.statistics.resampling import Contrast


def bounded(contrast: Contrast, interval: tuple[float, float]) -> tuple[float, float]:
    """Clip the interval of a mean to its metric's range (`range_of`); leave the interval of a difference unchanged."""
    if not contrast or min(contrast.values()) <= 0:
        return interval
    ranges = [range_of(metric) for _, _, metric in contrast]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return min(max(interval[0], low), high), max(min(interval[1], high), low)
