"""The two-level bootstrap: coverage, its arguments, undefined resamples."""

import math

import numpy as np
import pytest

from repro.traps import ratio_interval, two_level_bootstrap


def test_coverage_with_correlated_rollouts():
    rng = np.random.default_rng(0)
    prompt_ids = np.repeat(np.arange(30), 4)
    hits, naive_hits, trials = 0, 0, 120
    for trial in range(trials):
        data = rng.normal(0, 1, 30)[prompt_ids] + rng.normal(0, 0.5, 120)
        interval = ratio_interval(data, np.ones(120), prompt_ids, resamples=200, seed=trial)
        hits += interval.low <= 0 <= interval.high
        naive = data.std() / math.sqrt(120)
        naive_hits += abs(data.mean()) <= 1.96 * naive
    # Three standard deviations of a binomial of 0.95 below; conservative is allowed above
    assert hits / trials >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)
    assert naive_hits / trials < 0.8


def test_a_prompt_sampled_twice_is_two_prompts():
    prompt_ids = ["a", "a", "a", "b", "b"]
    sizes = {0: 3, 1: 2}
    seen = set()

    def statistic(rows, labels):
        assert len(rows) == len(labels)
        assert set(labels) == {0, 1}
        for label in (0, 1):
            prompts = {prompt_ids[row] for row in rows[labels == label]}
            assert len(prompts) == 1
            seen.add((label, *prompts))
            assert (labels == label).sum() == (3 if prompts == {"a"} else 2)
        return float(len(rows))

    interval = two_level_bootstrap(prompt_ids, statistic, resamples=50)
    assert seen == {(0, "a"), (0, "b"), (1, "a"), (1, "b")}
    assert (interval.value, interval.prompts, interval.rollouts) == (sum(sizes.values()), 2, 5)


def test_ratio_of_sums_and_seed():
    above, below = np.array([2.0, 4.0, 9.0]), np.array([1.0, 2.0, 3.0])
    interval = ratio_interval(above, below, [0, 0, 1], seed=3)
    assert interval.value == pytest.approx(15 / 6)
    assert 2 <= interval.low <= interval.value <= interval.high <= 3
    assert interval == ratio_interval(above, below, [0, 0, 1], seed=3)
    assert interval.se > 0


def test_undefined_resamples_are_counted():
    interval = ratio_interval([1.0, 0.0], [1.0, 0.0], [0, 1], resamples=400)
    assert interval.defined == pytest.approx(0.75, abs=0.1)
    assert (interval.low, interval.high) == (1, 1)
    never = ratio_interval([0.0], [0.0], [0], resamples=5)
    assert never.defined == 0
    assert math.isnan(never.low)


def test_refusals():
    with pytest.raises(ValueError, match="one or more"):
        ratio_interval([], [], [])
    with pytest.raises(ValueError, match="do not fit"):
        ratio_interval([1.0], [1.0, 2.0], [0])
