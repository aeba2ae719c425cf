"""The simulation behind docs/verdict_statistics.md with few runs: worlds have their stated truth, alarms are rare."""

from dataclasses import replace

import numpy as np
import pytest
from verdict_statistics import (
    ORDERING,
    RETAINS,
    TRAINED,
    World,
    cell_rates,
    draw,
    familywise,
    simulate,
    worlds,
)

RUNS = 60


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_world_has_the_difference_that_it_names() -> None:
    world = World("large", RETAINS, -0.02, items=20_000, seeds=40, spread_seeds=0.05, rate=0.9, edge=-0.02)
    measured = draw(world, rng())
    left, right = (measured.mean(row, "task1", "acc") for row in ("Undistillable", "Teacher"))
    assert right == pytest.approx(0.9, abs=0.006)
    assert left - right == pytest.approx(-0.02, abs=0.004)
    once = replace(world, metric="pass16", rate=0.8, seeds=1, difference=0.05)
    measured = draw(once, rng())
    assert measured.mean("Undistillable", "task1", "pass16") == pytest.approx(0.85, abs=0.01)


def test_every_kind_of_truth_is_simulated() -> None:
    for claim in (ORDERING, TRAINED, RETAINS):
        of_claim = [w for w in worlds() if w.claim == claim]
        assert any(w.at_edge for w in of_claim)
        assert any(w.difference > w.edge for w in of_claim)
    assert any(w.difference < w.edge for w in worlds())


def test_false_alarms_at_the_edge_are_rare() -> None:
    """At 5 % and 60 runs, 10 alarms or more come up once in 1,000."""
    for world in (
        World("ordering", ORDERING, 0.0, 50),
        World("training", TRAINED, 0.0, 60, seeds=3, spread_seeds=0.3),
        World("retains", RETAINS, -0.02, 60, seeds=3, spread_seeds=0.1, rate=0.9, edge=-0.02),
    ):
        rates = simulate(world, RUNS, rng(), resamples=200)
        assert rates.false_alarm <= 9 / RUNS, world
        assert rates.power is None


def test_large_differences_are_found() -> None:
    true = simulate(World("true", ORDERING, 0.08, 100), 40, rng(), resamples=200)
    assert true.power is not None
    assert true.power > 0.9
    assert true.false_alarm == 0
    false = simulate(World("false", ORDERING, -0.08, 100), 40, rng(), resamples=200)
    assert false.contradicted == false.power
    assert false.power > 0.9
    assert false.false_alarm == false.reproduced == 0


def test_family_and_cells() -> None:
    # 5 % of 30 runs: 7 or more come up once in 1,000.
    assert familywise(30, rng(), items=30, resamples=200) <= 6 / 30
    reproduced, contradicted = cell_rates("GKD-RKL", "BM4", 0.3, 15, rng(), resamples=100)
    assert reproduced == 0
    assert contradicted > 0.5
