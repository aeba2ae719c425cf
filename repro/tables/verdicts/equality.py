"""Equality: for two scores this close, ask whether they are equal, not which is larger.

The number of items needed to tell two nearly equal scores apart is unbounded, so it is no useful advice. What an
interval does give is the largest possible difference.
"""

from repro.printed.claims import Claim
from repro.tables.measured_table import is_fraction
from repro.tables.statistics.decision import Region, RequiredData, is_capped
from repro.tables.statistics.resampling import Contrast, Estimate

EQUAL_WITHIN = 0.02
"""ASSUMED: scores in 0..1 this close are called equal: two points, the margin of the claims on kept accuracy."""
MOST_DATA = 10.0
"""ASSUMED: a difference that would need more than this multiple of the data (items times seeds) is too small."""


def is_equality(claim: Claim) -> bool:
    """Return True for a claim that two sides are equal within a margin; other bounds on a difference may exclude 0."""
    return claim.kind == "between" and claim.low == -(claim.high or 0.0)


def is_too_close(claim: Claim, contrast: Contrast, estimate: Estimate, required: RequiredData) -> bool:
    """Return True for scores in 0..1 with a difference too small to matter, or too small for this data to resolve.

    Only applies to orderings and equalities: other claims have their own margin.
    """
    if not (claim.kind == "ordering" or is_equality(claim)) or not all(
        is_fraction(metric) for _, _, metric in contrast
    ):
        return False
    items, seeds = required.items or estimate.items, required.seeds or estimate.seeds
    return (
        (claim.kind == "ordering" and abs(estimate.value) <= EQUAL_WITHIN)
        or required == RequiredData(None, None)
        or items * seeds > MOST_DATA * estimate.items * estimate.seeds
    )


def largest_difference(interval: tuple[float, float]) -> float:
    """Return the largest absolute difference that an interval allows."""
    return max(abs(interval[0]), abs(interval[1]))


def describe_equality(estimate: Estimate, interval: tuple[float, float], *, training: bool) -> str:
    """Say by how much two scores differ at most, and whether that makes them equal, different, or leaves both open.

    Args:
        training: the claim is about training runs, so that one seed may not decide (`is_capped`).
    """
    largest = largest_difference(interval)
    at_most = f"no difference larger than {largest:.3f}"
    if largest <= EQUAL_WITHIN:
        if is_capped(estimate, Region(-EQUAL_WITHIN, EQUAL_WITHIN), training):
            return f"{at_most} between these two trainings; with one training seed, equality within {EQUAL_WITHIN:g} is open"
        return f"equal: no difference larger than {EQUAL_WITHIN:g}"
    is_clear_of_zero = interval[0] > 0 or interval[1] < 0
    if is_clear_of_zero and not is_capped(estimate, Region(low=0.0), training):
        return f"{at_most}; there is a difference, but whether it is within {EQUAL_WITHIN:g} is open"
    return f"{at_most}; whether there is a difference at all, or equality within {EQUAL_WITHIN:g}, is open"
