"""Importance weights: identities, extremes, and Pareto-k on tails of known shape."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro.traps import fit_generalised_pareto, importance_weighted_rkl, pareto_k, weighted_mean

log_weight_lists = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=60)


def precise(log_w):
    """Return rkl, k3 and mean weight, computed with 60 digits."""
    with mpmath.workdps(60):
        w = [mpmath.exp(mpmath.mpf(x)) for x in log_w]
        n = len(w)
        rkl = sum(a * mpmath.mpf(x) for a, x in zip(w, log_w)) / n
        k3 = sum(1 - a + a * mpmath.mpf(x) for a, x in zip(w, log_w)) / n
        return [float(v) if abs(v) < 1e308 else math.copysign(math.inf, v) for v in (rkl, k3, sum(w) / n)]


def estimate(log_w):
    return importance_weighted_rkl(np.asarray(log_w, dtype=float), np.zeros(len(log_w)))


@pytest.mark.parametrize(
    "log_w",
    [
        [0.0] * 5,
        [1e-9, -1e-9, 3e-6, -0.0099, 0.0101],
        [-1.0, 0.5, 2.0, -30.5, -29.5],
        [-9000.0, -800.0, -745.1],
        [650.0, 640.0, -3.0],
        [1e4, -1e4, 0.0],
    ],
)
def test_values_to_float64_precision(log_w):
    result = estimate(log_w)
    rkl, k3, mean_weight = precise(log_w)
    assert result.rkl == pytest.approx(rkl, rel=1e-12, abs=1e-300)
    assert result.k3 == pytest.approx(k3, rel=1e-9, abs=1e-300)
    assert result.mean_weight == pytest.approx(mean_weight, rel=1e-12, abs=1e-300)


@given(log_weight_lists)
def test_diagnostics_stay_in_range(log_w):
    result = estimate(log_w)
    n = len(log_w)
    assert 1 - 1e-9 <= result.effective_sample_size <= n + 1e-6
    assert 1 / n - 1e-9 <= result.max_weight_share <= 1 + 1e-9
    assert -1e-9 <= result.self_normalised_rkl <= math.log(n) + 1e-9
    assert result.k3 >= 0
    assert not math.isnan(result.rkl)
    assert math.isfinite(result.log_mean_weight)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=40))
def test_mean_weight_is_one_plus_rkl_minus_k3(log_w):
    result = estimate(log_w)
    size = max(1.0, abs(result.rkl), result.k3)
    assert result.mean_weight == pytest.approx(1 + result.rkl - result.k3, abs=1e-12 * size)


def test_equal_models_are_healthy():
    same = torch.randn(100).double() * 50 - 1000
    result = importance_weighted_rkl(same, same)
    assert (result.rkl, result.k3, result.mean_weight) == (0, 0, pytest.approx(1))
    assert result.effective_sample_size == pytest.approx(100)
    assert result.max_weight_share == pytest.approx(0.01)
    assert result.pareto_k == -math.inf


def test_weights_that_underflow_show_the_papers_pattern():
    """K3 = 1 and RKL = -0: every weight has vanished, and only the diagnostics show it."""
    result = importance_weighted_rkl(np.full(50, -2000.0), np.linspace(-900, -800, 50))
    assert result.k3 == 1
    assert result.rkl == 0
    assert result.mean_weight == 0
    assert result.log_mean_weight < -1000
    assert result.effective_sample_size < 1.5


def test_impossible_sequences_weigh_nothing():
    result = importance_weighted_rkl([-math.inf, -1.0], [-1.0, -1.0])
    assert (result.rkl, result.k3, result.mean_weight) == (0, 0.5, 0.5)
    nothing = importance_weighted_rkl([-math.inf] * 3, [-1.0] * 3)
    assert (nothing.rkl, nothing.k3, nothing.mean_weight, nothing.effective_sample_size) == (0, 1, 0, 0)
    assert math.isnan(nothing.max_weight_share)


def test_weighted_mean_is_signed():
    assert weighted_mean(np.log([1.0, 2.0, 3.0]), [1.0, -4.0, 0.5]) == pytest.approx((1 - 8 + 1.5) / 3)
    assert weighted_mean(np.array([800.0, 800.0]), [1.0, -1.0]) == 0
    assert weighted_mean(np.array([800.0]), [-1.0]) == -math.inf
    with pytest.raises(ValueError, match="finite"):
        weighted_mean(np.zeros(2), [1.0, math.inf])


@pytest.mark.parametrize(
    ("student", "teacher", "what"),
    [
        ([], [], "n >= 1"),
        ([-1.0], [-1.0, -2.0], "n >= 1"),
        ([math.nan], [-1.0], "student"),
        ([-1.0], [-math.inf], "teacher"),
    ],
)
def test_unusable_log_probs(student, teacher, what):
    with pytest.raises(ValueError, match=what):
        importance_weighted_rkl(student, teacher)


def gpd_quantiles(k, n, sigma=1.0):
    """Return n evenly spaced quantiles of a generalised Pareto distribution."""
    u = (np.arange(n) + 0.5) / n
    return -sigma * np.log1p(-u) if k == 0 else sigma * ((1 - u) ** -k - 1) / k


@pytest.mark.parametrize("k", [-0.5, 0.0, 0.3, 0.7, 1.0, 1.5])
@pytest.mark.parametrize("sigma", [1e-6, 1.0, 1e6])
def test_fit_recovers_shape_and_scale(k, sigma):
    shape, scale = fit_generalised_pareto(gpd_quantiles(k, 4000, sigma))
    assert shape == pytest.approx(k, abs=0.03)
    assert scale == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("k", [0.3, 0.7, 1.2])
def test_fit_is_close_on_random_samples(k):
    rng = np.random.default_rng(0)
    shapes = [fit_generalised_pareto(((1 - rng.random(300)) ** -k - 1) / k)[0] for _ in range(60)]
    # The estimator's own standard deviation is about (1 + k) / sqrt(300)
    assert np.mean(shapes) == pytest.approx(k, abs=4 * (1 + k) / math.sqrt(300 * 60))
    assert np.std(shapes) == pytest.approx((1 + k) / math.sqrt(300), rel=0.4)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9, 1.5])
def test_pareto_k_of_power_tails(k):
    u = (np.arange(40000) + 0.5) / 40000
    shape = pareto_k(-k * np.log1p(-u))  # w = (1 - u)^-k has tail index 1/k
    assert shape == pytest.approx(k, abs=0.06)
    assert pareto_k(-k * np.log1p(-u) + 5000) == pytest.approx(shape, abs=1e-9)  # scale-free
    assert pareto_k(-k * np.log1p(-u)[::-1]) == shape


def test_pareto_k_is_infinite_when_the_tail_is_unknown():
    assert pareto_k(np.zeros(20)) == math.inf  # four in the tail
    assert pareto_k(np.linspace(-1e4, 1e4, 1000)) == math.inf  # one weight dwarfs the rest
    assert pareto_k(np.full(100, -math.inf)) == math.inf
    assert pareto_k(np.zeros(100)) == -math.inf
    heavy = np.random.default_rng(0).normal(0, 12, 2000)
    assert pareto_k(heavy) > 0.7
    with pytest.raises(ValueError, match="Pareto-k"):
        pareto_k([math.nan] * 30)
    for bad in ([1.0], [0.0, 1.0], [1.0, math.inf]):
        with pytest.raises(ValueError, match="excesses"):
            fit_generalised_pareto(bad)
