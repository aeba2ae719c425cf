"""The bootstrap: against formulas where they exist, and by its invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.tables import MeasuredTable
from repro.tables.measured_table import CellKey
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Estimate, Resamples

LEFT, RIGHT = ("A", "t", "acc"), ("B", "t", "acc")


def table(left_SN: np.ndarray, right_SN: np.ndarray, ids: list[str] | None = None, samples: int = 16) -> MeasuredTable:
    measured = MeasuredTable("table2", "toy", "f", tuple(range(len(left_SN))), samples)
    ids = ids or [str(n) for n in range(left_SN.shape[1])]
    measured.add("A", "t", "acc", ids, left_SN)
    measured.add("B", "t", "acc", ids, right_SN)
    return measured


def difference(measured: MeasuredTable, resamples: int = 4_000, seed: int = 0) -> Estimate:
    contrast: dict[CellKey, float] = {LEFT: 1.0, RIGHT: -1.0}
    return Resamples(measured, contrast, resamples, seed).estimate(contrast)


def pair(items: int, seeds: int = 1, rng: int = 0, spread: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(rng)
    base_N = g.uniform(0.2, 0.6, items)
    shift_S = g.normal(0, spread, (seeds, 1))
    left = np.clip(base_N + 0.1 + shift_S + g.normal(0, 0.05, (seeds, items)), 0, 1)
    return left, np.broadcast_to(base_N, (seeds, items))


def test_one_seed_equals_the_paired_formula() -> None:
    left, right = pair(150)
    d = (left - right)[0]
    pseudo = 2 * 0.5 / 16 / 152**2
    estimate = difference(table(left, right), resamples=40_000)
    assert estimate.value == pytest.approx(d.mean(), abs=1e-12)
    assert estimate.se == pytest.approx(np.sqrt(d.var(ddof=1) / 150 + pseudo), rel=0.02)
    assert (estimate.var_seeds, estimate.items, estimate.seeds) == (0.0, 150, 1)


def test_pairing_removes_the_difficulty_of_items() -> None:
    left, right = pair(150)
    paired = difference(table(left, right)).se
    alone = np.sqrt(left.var(ddof=1) / 150 + right.var(ddof=1) / 150)
    assert paired < alone / 2


def test_sampling_seeds_of_fixed_models_are_averaged_first() -> None:
    """No model is trained again: three seeds of samples are as good as one with three times the samples."""
    misses = 0
    for rng in range(300):
        g = np.random.default_rng(rng)
        p_N = g.uniform(0.1, 0.9, 60)
        values = [g.binomial(16, p_N, (3, 60)) / 16 for _ in range(2)]
        contrast: dict[CellKey, float] = {LEFT: 1.0, RIGHT: -1.0}
        estimate = Resamples(table(*values), contrast, 400).estimate(contrast, training=False)
        low, high = interval(estimate, 0.05)
        misses += not low <= 0 <= high
        assert estimate.var_seeds == 0
    assert misses <= 25  # 15 expected; 26 or more once in 200 times
    trained = Resamples(table(*values), contrast, 400).estimate(contrast)
    assert estimate.value == trained.value
    half = (high - low) / 2
    assert half < (interval(trained, 0.05)[1] - interval(trained, 0.05)[0]) / 2


def test_seeds_are_outermost() -> None:
    """With a spread between seeds the error is that of the seeds, and more items do not reduce it."""
    few = difference(table(*pair(50, seeds=4, spread=0.08)), resamples=20_000)
    many = difference(table(*pair(5_000, seeds=4, spread=0.08)), resamples=4_000)
    for estimate, items in ((few, 50), (many, 5_000)):
        left, right = pair(items, seeds=4, spread=0.08)
        between = (left - right).mean(axis=1).var(ddof=1) / 4
        assert estimate.var_seeds == pytest.approx(between)
        assert estimate.se**2 == pytest.approx(between, rel=0.15)
    assert many.se > few.se / 1.6
    without = difference(table(*pair(5_000, seeds=4, spread=0.0)), resamples=4_000)
    assert without.se < many.se / 10


def test_tasks_are_strata_of_equal_weight() -> None:
    measured = MeasuredTable("table2", "toy", "f", (0,))
    g = np.random.default_rng(1)
    for task, items, mean in (("small", 20, 0.2), ("large", 2_000, 0.8)):
        measured.add("A", task, "acc", [str(n) for n in range(items)], np.clip(g.normal(mean, 0.1, (1, items)), 0, 1))
    contrast = {("A", "small", "acc"): 0.5, ("A", "large", "acc"): 0.5}
    estimate = Resamples(measured, contrast, 20_000).estimate(contrast)
    small, large = (measured.values["A", t, "acc"].values_SN for t in ("small", "large"))
    assert estimate.value == pytest.approx((small.mean() + large.mean()) / 2)
    pseudo = 0.5 / 16 / 22**2
    expected = 0.5 * np.sqrt(small.var(ddof=1) / 20 + pseudo + large.var(ddof=1) / 2_000)
    assert estimate.se == pytest.approx(expected, rel=0.03)
    assert (estimate.items, estimate.tasks) == (2_020, 2)


def test_ratio_of_sums_equals_the_delta_method() -> None:
    g = np.random.default_rng(3)
    tokens = g.integers(10, 200, (1, 400)).astype(float)
    kl = g.gamma(2, 0.1, (1, 400))
    measured = MeasuredTable("table4", "toy", "f", (0,))
    measured.add("A", "t", "token_rkl", [str(n) for n in range(400)], kl, tokens)
    estimate = Resamples(measured, [("A", "t", "token_rkl")], 20_000).estimate({("A", "t", "token_rkl"): 1.0})
    ratio = (kl * tokens).sum() / tokens.sum()
    residual = (kl - ratio) * tokens
    assert estimate.value == pytest.approx(ratio)
    assert estimate.se == pytest.approx(residual.std(ddof=1) / np.sqrt(400) / tokens.mean(), rel=0.04)


def test_rows_that_agree_on_every_item_keep_a_standard_error() -> None:
    same = np.ones((1, 50))
    estimate = difference(table(same, same))
    assert estimate.value == 0
    assert estimate.se == pytest.approx(np.sqrt(1 / 16) / 52)
    assert difference(table(same, same, samples=1)).se == pytest.approx(1 / 52)


def test_same_seed_same_numbers_and_other_rows_do_not_matter() -> None:
    measured = table(*pair(60, seeds=2))
    assert difference(measured, seed=7) == difference(measured, seed=7)
    assert difference(measured, seed=7) != difference(measured, seed=8)
    measured.add("C", "t", "acc", measured.items["t"], np.zeros((2, 60)))
    more = Resamples(measured, [("C", "t", "acc"), LEFT, RIGHT], 4_000, 7)
    assert more.estimate({LEFT: 1.0, RIGHT: -1.0}).se == pytest.approx(difference(measured, seed=7).se)


@settings(max_examples=25)
@given(rng=st.integers(0, 10_000), items=st.integers(20, 120), seeds=st.integers(1, 3))
def test_permuting_items_changes_nothing(rng: int, items: int, seeds: int) -> None:
    left, right = pair(items, seeds, rng, spread=0.05)
    order = np.random.default_rng(rng).permutation(items)
    straight = difference(table(left, right), resamples=3_000)
    ids = [str(n) for n in order]
    mixed = difference(table(left[:, order], right[:, order], ids), resamples=3_000)
    assert mixed.value == pytest.approx(straight.value, abs=1e-12)
    assert mixed.var_seeds == pytest.approx(straight.var_seeds, abs=1e-12)
    assert mixed.se == pytest.approx(straight.se, rel=0.12)  # two bootstraps of 3,000


@settings(max_examples=25)
@given(rng=st.integers(0, 10_000), items=st.integers(30, 100))
def test_more_items_narrow_the_interval(rng: int, items: int) -> None:
    left, right = pair(items, 1, rng)
    once = difference(table(left, right), resamples=2_000)
    four = difference(table(np.tile(left, 4), np.tile(right, 4)), resamples=2_000)
    assert four.value == pytest.approx(once.value)
    # A half, and less where the doubt about few items itself fades.
    assert 0.35 * once.se < four.se < 0.6 * once.se
