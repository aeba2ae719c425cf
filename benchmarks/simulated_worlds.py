"""Simulated worlds whose truth is known, for `verdict_statistics` to judge.

A world samples items of varying difficulty, models that differ from item to item, training seeds that shift a whole model,
and k = 16 graded samples per item. The offset between two models is solved for, so that the true difference is exact.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, special

from repro.tables.measured_table import Array, MeasuredTable

SAMPLES = 16
SPREAD_ITEMS = 1.5  # logits: standard deviation of difficulty between items
SPREAD_PAIR = 0.5  # logits: standard deviation of an item's difficulty between two models

ORDERING, TRAINED, RETAINS = "student-under-teacher", "improve-beats-gkd-rkl", "undistillable-retains-teacher"
COLLAPSE = "misled-collapses-under-student"
SIDES = {
    ORDERING: ("Teacher", "Student"),
    TRAINED: ("Improve", "GKD-RKL"),
    RETAINS: ("Undistillable", "Teacher"),
    COLLAPSE: ("Student", "Misled"),
}


@dataclass(frozen=True)
class World:
    """One simulated truth.

    Attributes:
        claim: id of the stored claim that is tested: "student-under-teacher" is not about training.
        difference: the true left - right. edge: below it the claim is false (0, minus its margin, or for
            a collapse half of the left side).
        items: per task, of two tasks. seeds: training seeds. spread_seeds: their standard deviation, logits.
        rate: the right side's true rate. metric: "acc" (mean of 16 samples) or "pass16" (one draw per item).
    """

    name: str
    claim: str
    difference: float
    items: int
    seeds: int = 1
    spread_seeds: float = 0.0
    rate: float = 0.5
    metric: str = "acc"
    edge: float = 0.0

    @property
    def at_edge(self) -> bool:
        return self.difference == self.edge


def draw(world: World, rng: np.random.Generator, tasks: tuple[str, ...] = ("task1", "task2")) -> MeasuredTable:
    """Sample one measured table of a world: the two rows that its claim compares, on each task."""
    left, right = SIDES[world.claim]
    measured = MeasuredTable("table2", "toy", "simulated", tuple(range(world.seeds)), SAMPLES)
    rates = {right: world.rate, left: world.rate + world.difference}
    shift = {row: _offset(rate, world.spread_seeds, world.metric) for row, rate in rates.items()}
    seeds_S = {row: rng.normal(0, world.spread_seeds, (world.seeds, 1)) for row in (left, right)}
    for task in tasks:
        item_N = rng.normal(0, SPREAD_ITEMS, world.items)
        for row in (left, right):
            logit_SN = shift[row] + seeds_S[row] + item_N + rng.normal(0, SPREAD_PAIR, world.items)
            right_SN = rng.binomial(SAMPLES, special.expit(logit_SN))
            values = right_SN / SAMPLES if world.metric == "acc" else (right_SN > 0).astype(float)
            measured.add(row, task, world.metric, [f"{task}-{n}" for n in range(world.items)], values)
    return measured


def spread_of_difference(spread_seeds: float, rate: float = 0.5) -> float:
    """Return the standard deviation between trainings of the difference of two models, in accuracy."""
    step = 1e-3
    slope = (2 * step) / (_offset(rate + step, spread_seeds, "acc") - _offset(rate - step, spread_seeds, "acc"))
    return float(np.sqrt(2) * spread_seeds * slope)


@cache
def _offset(rate: float, spread_seeds: float, metric: str) -> float:
    """Return the logit shift at which the mean over items and seeds of the per-item value is `rate`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    spread = np.sqrt(SPREAD_ITEMS**2 + SPREAD_PAIR**2 + spread_seeds**2)

    def mean(shift: float) -> float:
        p: Array = special.expit(shift + spread * nodes)
        value = p if metric == "acc" else 1 - (1 - p) ** SAMPLES
        return float((weights * value).sum() / weights.sum())

    return float(optimize.brentq(lambda shift: mean(shift) - rate, -20, 20))
