"""The three-valued rule, Holm's correction, and the data that would decide."""

from math import inf, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.tables.statistics.decision import (
    Region,
    RequiredData,
    decide,
    half_width,
    holm,
    interval,
    is_capped,
    p_value,
    required_data,
)
from repro.tables.statistics.resampling import Estimate

ORDERING, RETAINS, EQUAL = Region(low=0.0), Region(low=-0.02), Region(-0.03, 0.03)


def estimate(value: float, se: float = 0.01, seeds: int = 1, share: float = 0.5, items: int = 400) -> Estimate:
    """`share` of the variance comes from seeds where there are several."""
    of_seeds = se**2 * share if seeds > 1 else 0.0
    return Estimate(value, se, se**2 - of_seeds, of_seeds, items, seeds, tasks=2)


def call(e: Estimate, region: Region, level: float = 0.05, training: bool = False) -> str:
    return decide(e, region, p_value(e, region), level, training)


@pytest.mark.parametrize(
    ("value", "region", "expected"),
    [
        (0.05, ORDERING, "reproduced"),
        (-0.05, ORDERING, "contradicted"),
        (0.01, ORDERING, "inconclusive"),
        (-0.01, ORDERING, "inconclusive"),
        (0.0, ORDERING, "inconclusive"),
        # Non-inferiority with margin 0.02 and an interval of +-0.0197.
        (0.0, RETAINS, "reproduced"),
        (-0.0002, RETAINS, "reproduced"),
        (-0.0004, RETAINS, "inconclusive"),
        (-0.02, RETAINS, "inconclusive"),
        (-0.0394, RETAINS, "inconclusive"),
        (-0.0398, RETAINS, "contradicted"),
        (0.0, EQUAL, "reproduced"),
        (0.02, EQUAL, "inconclusive"),
        (0.05, EQUAL, "contradicted"),
        (-0.06, EQUAL, "contradicted"),
    ],
)
def test_rule(value: float, region: Region, expected: str) -> None:
    assert call(estimate(value), region) == expected


@given(
    value=st.floats(-0.2, 0.2),
    se=st.floats(0.001, 0.05),
    seeds=st.integers(1, 6),
    share=st.floats(0.05, 0.95),
    level=st.floats(0.001, 0.2),
)
def test_p_and_interval_never_disagree(value: float, se: float, seeds: int, share: float, level: float) -> None:
    e = estimate(value, se, seeds, share)
    p = p_value(e, RETAINS)
    low, high = interval(e, level)
    if abs(p / level - 1) > 1e-6:
        assert (p < level) == (low > -0.02 or high < -0.02)


def test_one_training_seed_is_capped_at_5_standard_errors() -> None:
    clear, far = estimate(0.049), estimate(0.051)
    assert call(clear, ORDERING, training=False) == "reproduced"
    assert call(clear, ORDERING, training=True) == "inconclusive"
    assert call(far, ORDERING, training=True) == "reproduced"
    assert call(estimate(-0.051), ORDERING, training=True) == "contradicted"
    # From the margin, not from zero: 0.032 + 0.02 is 5.2 standard errors.
    assert call(estimate(0.032), RETAINS, training=True) == "reproduced"
    assert call(estimate(0.028), RETAINS, training=True) == "inconclusive"
    assert not is_capped(estimate(0.049, seeds=2), ORDERING, training=True)


def test_few_seeds_widen_the_interval() -> None:
    """All variance between seeds gives Student's interval: 12.71 se for 2 seeds, 4.30 for 3, 2.78 for 5."""
    for seeds, quantile in ((2, 12.706), (3, 4.303), (5, 2.776)):
        assert half_width(estimate(0, 0.01, seeds, share=1.0), 0.05) == pytest.approx(0.01 * quantile, rel=1e-3)
    mixed = estimate(0, 0.01, 3, share=0.5)
    assert half_width(mixed, 0.05) == pytest.approx(0.01 * sqrt(0.5 * 1.966**2 + 0.5 * 4.303**2), rel=1e-3)


def test_holm_by_hand() -> None:
    adjusted, levels = holm([0.04, 0.01, 0.03, 0.005], alpha=0.05)
    assert adjusted == pytest.approx([0.06, 0.03, 0.06, 0.02])
    # Steps: 0.005 <= 0.0125, 0.01 <= 0.0167, 0.03 > 0.025 stops, and 0.04 is held at that step.
    assert levels == pytest.approx([0.025, 0.05 / 3, 0.025, 0.0125])
    assert holm([], 0.05) == ([], [])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_holm_rejects_where_p_is_within_its_level(ps: list[float]) -> None:
    adjusted, levels = holm(ps, 0.05)
    for p, p_holm, level in zip(ps, adjusted, levels, strict=True):
        assert (p_holm <= 0.05) == (p <= level) or abs(p / level - 1) < 1e-9
        assert p <= p_holm <= 1
        assert 0.05 / len(ps) <= level <= 0.05 * (1 + 1e-12)


def test_the_required_items_decide() -> None:
    e = estimate(0.015, se=0.01, items=400)
    required = required_data(e, ORDERING, 0.05, training=False)
    assert required.seeds is None
    assert required.items is not None
    # (1.966 + 0.842)^2 / 1.5^2 = 3.50 times the items.
    assert required.items == pytest.approx(400 * 3.50, rel=0.01)
    se = 0.01 / sqrt(required.items / 400)
    assert 0.015 / se == pytest.approx(1.966 + 0.842, rel=0.01)


def test_the_required_seeds_decide() -> None:
    from_one_seed = required_data(estimate(0.04, items=400), ORDERING, 0.05, training=True)
    assert (from_one_seed.items, from_one_seed.seeds) == (None, 3)
    three = estimate(0.04, se=0.02, seeds=3, share=0.9)
    required = required_data(three, ORDERING, 0.05, training=True)
    assert required.seeds is not None
    assert 3 < required.seeds < 20
    # With the required data the half-width leaves 80 % power.
    of_seeds = three.var_seeds * 3 / required.seeds
    of_items = three.var_items * 400 / (required.items or 400)
    decided = Estimate(0.04, sqrt(of_items + of_seeds), of_items, of_seeds, 400, required.seeds, 2)
    assert half_width(decided, 0.05) + 0.84 * decided.se <= 0.04


def test_required_data_in_words() -> None:
    assert required_data(estimate(0.0), ORDERING, 0.05, training=False) == RequiredData(None, None)
    tiny = estimate(1e-6)
    assert "no realistic number" in required_data(tiny, ORDERING, 0.05, training=False).describe(tiny)
    moderate = estimate(0.015)
    assert "about 1,40" in required_data(moderate, ORDERING, 0.05, training=False).describe(moderate)
    assert "(now 400)" in required_data(moderate, ORDERING, 0.05, training=False).describe(moderate)


def test_region_gap() -> None:
    assert Region(-0.02, inf).gap(0.01) == pytest.approx(0.03)
    assert EQUAL.gap(0.02) == pytest.approx(0.01)
    assert EQUAL.contains(0.03)
    assert not EQUAL.contains(0.031)
