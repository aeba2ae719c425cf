"""Format planned times and sizes: two or three digits, in a suitable unit."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `repro list` imports no planner
    from repro.planner.corrections import Estimate

_UNITS = ((2 * 86400.0, 86400.0, "days"), (100 * 60.0, 3600.0, "h"), (60.0, 60.0, "min"), (0.0, 1.0, "s"))
"""(seconds from which a unit is used, seconds per unit, name)."""


def describe_duration(seconds: float) -> str:
    """Format seconds as "40 s", "6.2 min", "4 h" or "71 days"."""
    number, unit = _in_unit(seconds)
    return f"{number} {unit}"


def describe_seconds(estimate: "Estimate") -> str:
    """Format an estimate as a duration, or as a range ("13 min to 1.9 h") if it was not measured."""
    if estimate.high <= estimate.low * 1.01:
        return describe_duration(estimate.seconds)
    (low, low_unit), (high, unit) = _in_unit(estimate.low), _in_unit(estimate.high)
    return f"{low}{'' if low_unit == unit else f' {low_unit}'} to {high} {unit}"


def describe_gpu_hours(estimate: "Estimate") -> str:
    """Format an estimate as "1.3 to 12 GPU-hours", or as a single number if it was measured."""
    if estimate.high <= estimate.low * 1.01:
        return f"{_rounded(estimate.seconds / 3600)} GPU-hours"
    return f"{_rounded(estimate.low / 3600)} to {_rounded(estimate.high / 3600)} GPU-hours"


def describe_gib(gib: float) -> str:
    """Format GiB as "31 MiB", "6.7 GiB" or "1.05 TiB"."""
    if gib >= 1024:
        return f"{gib / 1024:,.2f} TiB"
    if gib >= 1:
        return f"{gib:,.1f} GiB"
    return f"{gib * 1024:,.0f} MiB"


def _in_unit(seconds: float) -> tuple[str, str]:
    size, unit = next((size, unit) for start, size, unit in _UNITS if seconds >= start)
    return _rounded(seconds / size), unit


def _rounded(number: float) -> str:
    """Format a number with one decimal below 10 and three significant digits above 1,000."""
    if number >= 1000:
        digits = len(str(int(number))) - 3
        return f"{round(number, -digits):,.0f}"
    return f"{number:,.0f}" if number >= 10 or number == round(number, 1) == int(number) else f"{number:.1f}"
