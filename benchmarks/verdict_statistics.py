"""Proof of the verdicts by simulation: false-alarm rate and power in worlds whose truth is known.

    nox -s verdict-statistics (python benchmarks/verdict_statistics.py docs/verdict_statistics.md)

`verdict` judges samples of a simulated world through the same code as a real run. Worlds at the edge of a claim (the true
difference is 0, or minus the margin) are the hard ones: there both "reproduced" and "contradicted" are false alarms, and
together may occur in at most alpha of the runs.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from known_truths import HEADING
from scipy import special
from simulated_worlds import (
    COLLAPSE,
    ORDERING,
    RETAINS,
    SAMPLES,
    SPREAD_ITEMS,
    SPREAD_PAIR,
    TRAINED,
    World,
    draw,
    spread_of_difference,
)
from tail_worlds import Tail, draw_tail_world

from repro.printed.load import PaperTable, load, load_claims
from repro.tables.measured_table import MeasuredTable
from repro.tables.verdicts.cells import judge_cells
from repro.tables.verdicts.verdict import verdict

ALPHA = 0.05
ONE_SEED_SPREADS = (0.05, 0.1, 0.2, 0.4)  # logits


@dataclass(frozen=True)
class Rates:
    """Shares of runs by verdict."""

    world: World
    runs: int
    reproduced: float
    contradicted: float

    @property
    def false_alarm(self) -> float:
        """Share of runs with a wrong verdict; at the edge both verdicts are wrong."""
        if self.world.at_edge:
            return self.reproduced + self.contradicted
        return self.contradicted if self.world.difference > self.world.edge else self.reproduced

    @property
    def power(self) -> float | None:
        """Share of runs with the right verdict; None at the edge, where neither is right."""
        if self.world.at_edge:
            return None
        return self.reproduced if self.world.difference > self.world.edge else self.contradicted


def worlds() -> list[World]:
    """Return the edges first, then true and false worlds of growing distance."""
    edge = [
        World("ordering", ORDERING, 0.0, 50),
        World("ordering", ORDERING, 0.0, 150),
        World("ordering, near the ceiling", ORDERING, 0.0, 50, rate=0.98),
        World("ordering, one draw per item", ORDERING, 0.0, 50, metric="pass16", rate=0.8),
        World("training, one seed", TRAINED, 0.0, 100, seeds=1, spread_seeds=0.1),
        World("training, 2 seeds", TRAINED, 0.0, 100, seeds=2, spread_seeds=0.1),
        World("training, 3 seeds", TRAINED, 0.0, 100, seeds=3, spread_seeds=0.1),
        World("training, 3 seeds, wide", TRAINED, 0.0, 100, seeds=3, spread_seeds=0.4),
        World("training, 5 seeds, wide", TRAINED, 0.0, 100, seeds=5, spread_seeds=0.4),
        World("retains, 1 seed", RETAINS, -0.02, 150, seeds=1, spread_seeds=0.05, rate=0.9, edge=-0.02),
        World("retains, 3 seeds", RETAINS, -0.02, 150, seeds=3, spread_seeds=0.1, rate=0.9, edge=-0.02),
        World("collapse, 3 seeds", COLLAPSE, 0.25, 100, seeds=3, spread_seeds=0.1, rate=0.25, edge=0.25),
    ]
    apart = [
        *(World("ordering", ORDERING, d, 150) for d in (0.01, 0.03, 0.06, -0.06)),
        *(World("training, one seed", TRAINED, d, 100, seeds=1, spread_seeds=0.1) for d in (0.05, 0.15)),
        *(World("training, 3 seeds", TRAINED, d, 100, seeds=3, spread_seeds=0.1) for d in (0.05, 0.1, 0.2, -0.1)),
        World("training, 5 seeds", TRAINED, 0.1, 100, seeds=5, spread_seeds=0.1),
        *(
            World("retains, 3 seeds", RETAINS, d, 150, seeds=3, spread_seeds=0.1, rate=0.9, edge=-0.02)
            for d in (0.0, 0.02, -0.08)
        ),
        *(
            World("collapse, 3 seeds", COLLAPSE, d, 100, seeds=3, spread_seeds=0.1, rate=0.5 - d, edge=0.25)
            for d in (0.3, 0.4, 0.1)
        ),
    ]
    return edge + apart


def simulate(world: World, runs: int, rng: np.random.Generator, resamples: int = 200) -> Rates:
    """Judge `runs` samples of a world."""
    claim = next(c for c in load_claims("table2") if c.id == world.claim)
    claim = claim.model_copy(update={"metrics": (world.metric,)})
    stored = load("table2")
    verdicts = Counter(
        verdict(draw(world, rng), stored, [claim], alpha=ALPHA, resamples=resamples, seed=run).claims[0].value
        for run in range(runs)
    )
    return Rates(world, runs, verdicts["reproduced"] / runs, verdicts["contradicted"] / runs)


def familywise(runs: int, rng: np.random.Generator, items: int = 100, resamples: int = 200) -> float:
    """Return the share of runs with a conclusive ordering of Table 2 although all nine models are the same."""
    claims = load_claims("table2")
    orderings = [c for c in claims if c.kind == "ordering" and c.role != "control" and c.metrics == ("acc", "reward")]
    rows = dict.fromkeys(ref.row for c in orderings for ref in (c.left, *c.right))
    stored, alarms = load("table2"), 0
    for run in range(runs):
        measured = MeasuredTable("table2", "toy", "simulated", (0, 1, 2), SAMPLES)
        item_N = rng.normal(0, SPREAD_ITEMS, items)
        for row in rows:
            noise = rng.normal(0, SPREAD_PAIR, items) + rng.normal(0, 0.1, (3, 1))
            right_SN = rng.binomial(SAMPLES, special.expit(item_N + noise))
            measured.add(row, "task", "acc", [str(n) for n in range(items)], right_SN / SAMPLES)
        report = verdict(measured, stored, orderings, alpha=ALPHA, resamples=resamples, seed=run)
        alarms += any(v.value != "inconclusive" for v in report.claims)
    return alarms / runs


def cell_rates(
    row: str, column: str, difference: float, runs: int, rng: np.random.Generator, resamples: int = 200
) -> tuple[float, float]:
    """Return the shares of (reproduced, contradicted) for an accuracy cell of Table 2 whose truth is `difference` off.

    We have as many items as the paper is assumed to have. The paper's side is simulated too: its own items, its one
    training run (of a trained row, of which we have three), its rounding to three decimals.
    """
    stored = load("table2")
    items, trained = stored.columns[column].items, row not in stored.untrained
    assert items is not None
    reproduction = World(
        "ours", TRAINED, difference, items, seeds=3 if trained else 1, spread_seeds=0.1 if trained else 0.0
    )
    paper = replace(reproduction, difference=0.0, seeds=1)
    verdicts: Counter[str] = Counter()
    for run in range(runs):
        sampled = draw(reproduction, rng, (column,))
        table = MeasuredTable("table2", "paper", "qwen3", sampled.seeds, SAMPLES)
        table.add(row, column, "acc", sampled.items[column], sampled.values["Improve", column, "acc"].values_SN)
        printed = round(draw(paper, rng, (column,)).mean("Improve", column, "acc"), 3)
        (cell,) = judge_cells(table, _printing(stored, row, column, printed), ALPHA, resamples, seed=run)
        verdicts[cell.value] += 1
    return verdicts["reproduced"] / runs, verdicts["contradicted"] / runs


def floor_rates(runs: int, rng: np.random.Generator, resamples: int = 200) -> tuple[float, float]:
    """Return the shares of (reproduced, not testable) for the collapse of a student that guessed among five before."""
    (claim,) = (claim for claim in load_claims("table2") if claim.id == COLLAPSE)
    world = World("at chance", COLLAPSE, 0.19, 100, seeds=3, spread_seeds=0.0, rate=0.01)
    verdicts: Counter[str] = Counter()
    for run in range(runs):
        table = draw(world, rng)
        table.chance = dict.fromkeys(table.tasks, 0.2)
        verdicts[
            verdict(table, load("table2"), [claim], alpha=ALPHA, resamples=resamples, seed=run).claims[0].value
        ] += 1
    return verdicts["reproduced"] / runs, verdicts["not testable"] / runs


def tail_rates(tail: Tail, runs: int, first_seed: int, resamples: int = 200) -> dict[str, tuple[float, float]]:
    """Return claim -> the shares of (reproduced, contradicted) of Figure 2's claims about the tail."""
    stored = load("figure2")
    claims = [claim for claim in load_claims("figure2") if claim.left.row == "tail"]
    counts: Counter[tuple[str, str]] = Counter()
    for run in range(runs):
        table = draw_tail_world(tail, first_seed + run)
        report = verdict(table, stored, claims, alpha=ALPHA, resamples=resamples, seed=run)
        counts.update((conclusion.claim, conclusion.value) for conclusion in report.claims)
    return {
        claim.id: (counts[claim.id, "reproduced"] / runs, counts[claim.id, "contradicted"] / runs) for claim in claims
    }


def report(runs: int = 2_000, seed: int = 0) -> Iterator[str]:
    """Yield the Markdown page, line by line as the simulation runs."""
    streams = iter(np.random.SeedSequence(seed).spawn(100))  # one per line: a line does not depend on the others

    def rng() -> np.random.Generator:
        return np.random.default_rng(next(streams))

    noise = 2 * np.sqrt(ALPHA * (1 - ALPHA) / runs)
    yield "# False alarms and power of the verdicts"
    yield ""
    yield (f"Written by `nox -s verdict-statistics`: {runs:,} runs per line, simulation seed {seed}, alpha {ALPHA:g}.")
    yield (
        f"Each run has two tasks with the given number of items, {SAMPLES} samples each. At the edge of a claim (`retains`: "
        f"its margin of 2 points; `collapse`: a loss of half) both verdicts are false alarms. Together they may occur in {ALPHA:.0%} of "
        f"runs, plus or minus {noise:.1%} of simulation noise. Differences are between the true mean accuracies."
    )
    yield ""
    yield ("| world | items per task | seeds | true difference | reproduced | contradicted | false alarm | power |")
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for world in worlds():
        r = simulate(world, runs, rng())
        truth = "edge" if world.at_edge else "true" if world.difference > world.edge else "false"
        power = "" if r.power is None else f"{r.power:.1%}"
        yield (
            f"| {world.name} | {world.items} | {world.seeds} | {world.difference:+.2f} ({truth}) | "
            f"{r.reproduced:.1%} "
            f"| {r.contradicted:.1%} | {r.false_alarm:.1%} | {power} |"
        )
    yield ""
    any_alarm = familywise(runs, rng())
    yield (
        "With all nine models of Table 2 made equal, 3 seeds, 100 items: some ordering is called "
        f"in {any_alarm:.1%} of "
        f"runs; Holm's correction allows {ALPHA:.0%}."
    )
    yield ""
    reproduced, not_testable = floor_rates(runs, rng())
    yield (
        "If a student guesses among five options before (0.20 on each of two tasks) and scores 0.01 after, its collapse is not"
        f" testable in {not_testable:.1%} of runs and reproduced in {reproduced:.1%}."
    )
    yield ""
    yield "## What one training seed cannot know"
    yield ""
    yield (
        "One seed shows no spread between trainings, so a gap of more than 5 standard errors of the "
        "items is accepted on "
        "the assumption that trainings differ little. True difference 0, 100 items per task, one seed:"
    )
    yield ""
    yield "| spread between trainings, of the difference | reproduced | contradicted |"
    yield "| --- | --- | --- |"
    for spread in ONE_SEED_SPREADS:
        r = simulate(World("training, one seed", TRAINED, 0.0, 100, seeds=1, spread_seeds=spread), runs, rng())
        yield f"| {spread_of_difference(spread):.3f} | {r.reproduced:.1%} | {r.contradicted:.1%} |"
    yield ""
    yield "## Cells"
    yield ""
    yield (
        "Accuracy, margin 0.03, as many items as the paper is assumed to have; three of our seeds against the paper's one "
        "training run. The spread between trainings and the paper's limited items leave most cells open. Printed numbers "
        "cannot decide more, which is why the claims carry the verdict."
    )
    yield ""
    yield "| cell | our items | true difference | reproduced | contradicted |"
    yield "| --- | --- | --- | --- | --- |"
    for row, column in (("Teacher", "CSQA"), ("GKD-RKL", "BM4")):
        for difference in (0.03, 0.0, 0.1, 0.2):
            reproduced, contradicted = cell_rates(row, column, difference, runs, rng())
            items = load("table2").columns[column].items
            truth = "edge" if difference == 0.03 else "inside" if difference == 0 else "outside"
            yield (
                f"| {row}, {column} | {items} | {difference:+.2f} ({truth}) | {reproduced:.1%} | {contradicted:.1%} |"
            )
    yield from _tail_section(runs // 10)


def _tail_section(runs: int) -> Iterator[str]:
    yield ""
    yield "## Figure 2: noise in the tail"
    yield ""
    yield (
        f"Pairs of models with known tails (benchmarks/tail_worlds.py), {runs} runs per line, measured as in a diagnosis."
        " Nothing: the tail (all ids but the four candidates of a step) is the same in both models. Even: it differs, without"
        " regard to frequency, and holds 0.105 of the KL. Frequent: the student's tail follows the frequency of tokens, the"
        " teacher's does not, and they agree on the candidates. Over all steps (K = V) the correlation is +0.6 even in the first"
        " world: it says nothing about the tail."
    )
    yield ""
    yield "| world | claim | truth | reproduced | contradicted |"
    yield "| --- | --- | --- | --- | --- |"
    for n, tail in enumerate(get_args(Tail)):
        for claim, (reproduced, contradicted) in tail_rates(tail, runs, n * runs).items():
            truth = "true" if tail == "frequent" or (tail, claim) == ("even", "tail-carries-kl") else "false"
            yield f"| {tail} | {claim} | {truth} | {reproduced:.1%} | {contradicted:.1%} |"


def _printing(stored: PaperTable, row: str, column: str, accuracy: float) -> PaperTable:
    """Return the stored table as if the paper had printed that accuracy there."""
    cell = stored.cell(column, "acc", family="qwen3", method=row)
    changed = replace(cell, printed=replace(cell.printed, text=f"{accuracy:.3f}", value=accuracy))
    return replace(stored, cells=tuple(changed if c is cell else c for c in stored.cells))


if __name__ == "__main__":
    lines = []
    for line in report():
        print(line, flush=True)
        lines.append(line)
    if len(sys.argv) > 1:
        document = Path(sys.argv[1])  # ends with what known_truths.py writes, from studies that take an hour
        _, heading, rest = (
            document.read_text(encoding="utf-8").partition(HEADING) if document.is_file() else ("", "", "")
        )
        document.write_text("\n".join([*lines, "", heading + rest]).rstrip() + "\n", encoding="utf-8")
