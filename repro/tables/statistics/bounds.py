"""Intervals end where their quantity does: a share is never below 0 or above 1."""

from repro.tables.measured_table import is_fraction
from repro.tables.statistics.resampling import Contrast


def bounded(contrast: Contrast, interval: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of a mean of shares cut to 0..1; that of a difference, or of another metric, as it is."""
    is_share = all(is_fraction(metric) and weight > 0 for (_, _, metric), weight in contrast.items())
    if not contrast or not is_share:
        return interval
    return min(max(interval[0], 0.0), 1.0), max(min(interval[1], 1.0), 0.0)
