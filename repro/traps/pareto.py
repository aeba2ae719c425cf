"""Pareto-k: the heaviness of the tail of importance weights (Vehtari et al., 2024, PSIS).

A generalised Pareto distribution is fitted to the largest weights by the method of Zhang and Stephens (2009). Its shape
k says which moments are finite: the variance if k is below 1/2, the mean if it is below 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Array = NDArray[np.float64]

TRUSTED = 0.7  # importance sampling is unreliable above this (Vehtari et al.)
SMALLEST_TAIL = 5


def pareto_k(log_w: Any) -> float:
    """Estimate the shape k of the tail of the weights.

    Args:
        log_w: [n] log-weights, nats; -inf is a weight of 0.

    Returns:
        k, shrunk towards 1/2 as if by ten further observations. -inf if the largest weights are all equal (no tail at
        all). +inf if no tail can be fitted: fewer than 5 weights in it (n < 21), or a largest weight so large that the
        others underflow in float64. So `k < TRUSTED` is false whenever the tail is unknown.

    Raises:
        ValueError: NaN or +inf among the log-weights, or none at all.
    """
    log_w = np.sort(np.asarray(log_w, dtype=np.float64))
    n = len(log_w)
    if n == 0 or np.isnan(log_w).any() or log_w[-1] == np.inf:
        raise ValueError("Pareto-k needs one or more log-weights below +inf")
    size = int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))
    if size < SMALLEST_TAIL or n <= size or log_w[-1] == -np.inf:
        return float("inf")
    # k does not depend on the scale of the weights: scale the largest to 1
    tail = np.exp(log_w[n - size :] - log_w[-1])
    excess = tail - np.exp(log_w[n - size - 1] - log_w[-1])
    if excess[-1] <= 1e-12:
        return float("-inf")
    above = log_w[n - size :] > log_w[n - size - 1]  # weights equal to the cutoff are not above it
    excess = excess[above]
    if len(excess) < SMALLEST_TAIL or excess[0] < 1e-280:
        return float("inf")
    k, _ = fit_generalised_pareto(excess)
    return (k * len(excess) + 5.0) / (len(excess) + 10.0)


def fit_generalised_pareto(excess: Any) -> tuple[float, float]:
    """Fit the shape k and scale sigma of a generalised Pareto distribution (Zhang and Stephens, 2009).

    Density (1 + k x / sigma)^(-1/k - 1) / sigma for x > 0: k > 0 has a power tail, k = 0 is exponential, k < 0 is
    bounded. The posterior mean of b = -k / sigma on a grid; no iteration, so nothing to converge.

    Args:
        excess: [m] values above the cutoff, all positive.

    Raises:
        ValueError: fewer than 2 values, or one that is not positive and finite.
    """
    x = np.sort(np.asarray(excess, dtype=np.float64))
    if len(x) < 2 or not x[0] > 0 or not np.isfinite(x[-1]):
        raise ValueError("a generalised Pareto fit needs two or more positive, finite excesses")
    m = 30 + int(np.sqrt(len(x)))
    grid = np.arange(1, m + 1)
    b = 1 / x[-1] + (1 - np.sqrt(m / (grid - 0.5))) / (3 * _quartile(x))
    k_of_b = np.log1p(-b[:, None] * x).mean(axis=1)
    log_likelihood = len(x) * (np.log(-b / k_of_b) - k_of_b - 1)
    weight = np.exp(log_likelihood - logsumexp(log_likelihood))
    b_mean = float(weight @ b)
    k = float(np.log1p(-b_mean * x).mean())
    return k, -k / b_mean


def _quartile(x: Array) -> float:
    return float(x[int(len(x) / 4 + 0.5) - 1])
