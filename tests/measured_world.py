"""A small measured Table 2 with known effects, made without any model."""

import numpy as np
from scipy import special

from repro.tables import MeasuredTable

EFFECTS = {
    "Teacher": 3.0,
    "Distillable": 3.0,
    "Undistillable": 3.0,
    "Student": -1.2,
    "SFT": -0.3,
    "GKD-FKL": -0.2,
    "GKD-RKL": 1.0,
    "Improve": 1.8,
    "Misled": -3.2,
}
TASKS = {"chain3": "acc", "quiz": "acc", "stories": "reward"}


def build(
    items: int = 120,
    seeds: tuple[int, ...] = (0, 1, 2),
    effects: dict[str, float] | None = None,
    family: str = "qwen3",
    scale: str = "toy",
    rng: int = 0,
    spread: float = 0.1,
) -> MeasuredTable:
    """`effects` are logits that replace or join those of EFFECTS."""
    generator = np.random.default_rng(rng)
    measured = MeasuredTable("table2", scale, family, seeds)
    for task, metric in TASKS.items():
        ids = [f"{task}-{n}" for n in range(items)]
        difficulty_N = generator.normal(0, 1, items)
        for row, effect in {**EFFECTS, **(effects or {})}.items():
            seed_S1 = generator.normal(0, spread, (len(seeds), 1))
            right_SN = generator.binomial(16, special.expit(difficulty_N + effect + seed_S1))
            measured.add(row, task, metric, ids, right_SN / 16)
            if metric == "acc":
                measured.add(row, task, "maj16", ids, (right_SN > 8) + 0.5 * (right_SN == 8))
                measured.add(row, task, "pass16", ids, (right_SN > 0) * 1.0)
    return measured
