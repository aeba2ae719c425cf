"""Equality is tested as equality: near ties say by how much two scores differ at most, never how many items would tell them apart."""

import numpy as np
import pytest

from repro.printed.load import load, load_claims
from repro.tables import MeasuredTable
from repro.tables.statistics.bounds import bounded
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import ClaimVerdict


def judge(
    claim_id: str, left: float, right: float, items: int = 300, spread: float = 0.0, seeds: int = 3
) -> ClaimVerdict:
    """Judge a control of Table 2 on rows of these true rates, 16 samples an item."""
    table = MeasuredTable("table2", "toy", "qwen3", tuple(range(seeds)))
    rng = np.random.default_rng(0)
    for row, rate in (("Misled", left), ("No-reasoning", right)):
        rates_S1 = np.clip(rate + rng.normal(0, spread, (seeds, 1)), 0, 1)
        table.add(row, "a", "acc", [str(n) for n in range(items)], rng.binomial(16, rates_S1, (seeds, items)) / 16)
    claim = next(c for c in load_claims("table2") if c.id == claim_id)
    return verdict(table, load("table2"), [claim], resamples=1000).claims[0]


def test_scores_that_are_equal_are_called_equal():
    judged = judge("misled-equals-no-reasoning", 0.12, 0.12, items=3000)
    assert judged.statement == "Misled = No-reasoning, within 0.02"
    assert judged.value == "reproduced"
    low, high = judged.interval
    assert -0.02 < low < 0 < high < 0.02


def test_scores_that_differ_are_not():
    assert judge("misled-equals-no-reasoning", 0.12, 0.30).value == "contradicted"


def test_an_ordering_of_equal_scores_names_no_number_of_items():
    judged = judge("misled-under-no-reasoning", 0.12, 0.12, items=3000)
    assert judged.value == "inconclusive"
    assert judged.text.endswith("; equal: no difference larger than 0.02")
    assert (judged.needed_items, judged.needed_seeds) == (None, None)


def test_with_one_training_seed_an_ordering_calls_equal_what_the_equality_does():
    """The equality of the same scores is held back by the rule on one seed."""
    for items, value in ((500, "inconclusive"), (2000, "reproduced")):
        ordering, equality = (
            judge(claim, 0.12, 0.12, items=items, seeds=1)
            for claim in ("misled-under-no-reasoning", "misled-equals-no-reasoning")
        )
        assert equality.value == value
        assert ("; equal: " in ordering.text) == (value == "reproduced")
    assert judge("misled-under-no-reasoning", 0.12, 0.12, items=500, seeds=1).text.endswith(
        "between these two trainings; with one training seed, equality within 0.02 is open"
    )


def test_with_one_training_seed_a_difference_of_a_few_standard_errors_is_open():
    judged = judge("misled-equals-no-reasoning", 0.12, 0.15, items=500, seeds=1)
    assert 0 < abs(judged.estimate) < 5 * judged.se
    assert judged.interval[1] < 0
    assert "whether there is a difference at all" in judged.text


def test_an_ordering_that_is_too_wide_for_equality_says_so():
    judged = judge("misled-under-no-reasoning", 0.12, 0.12, items=50, spread=0.04)
    assert judged.value == "inconclusive"
    largest = max(map(abs, judged.interval))
    assert largest > 0.02
    assert f"no difference larger than {largest:.3f}; whether there is a difference at all" in judged.text


def test_a_difference_that_is_real_and_may_be_within_the_margin_says_so():
    judged = judge("misled-equals-no-reasoning", 0.12, 0.142, items=1000)
    assert judged.value == "inconclusive"
    assert judged.interval[1] < 0
    assert judged.text.endswith("there is a difference, but whether it is within 0.02 is open")


def test_a_small_difference_that_one_seed_alone_leaves_open_names_seeds():
    judged = judge("misled-under-no-reasoning", 0.12, 0.132, items=2000, seeds=1)
    assert (judged.value, judged.capped, judged.needed_seeds) == ("inconclusive", True, 3)
    assert judged.interval[0] > 0
    assert judged.text.endswith("3 or more training seeds (now 1) would decide a gap of this size")


def test_a_difference_within_reach_still_says_what_would_decide_it():
    judged = judge("misled-under-no-reasoning", 0.12, 0.19, items=20, spread=0.03)
    assert judged.value == "inconclusive"
    assert judged.needed_items or judged.needed_seeds
    assert "would decide a gap of this size" in judged.text


@pytest.mark.parametrize("value", ["premise", "claim", "control"])
def test_a_count_is_of_one_role(value):
    report = verdict(_table(), load("table2"), missing="inconclusive", resamples=500)
    counts = report.counts(value)
    assert sum(counts.values()) == len([v for v in report.claims if v.role == value]) > 0


def test_a_contradicted_premise_contradicts_no_claim():
    report = verdict(_table(student=0.9), load("table2"), missing="inconclusive", resamples=500)
    assert report.counts("premise")["contradicted"] == 1
    assert report.counts("claim")["contradicted"] == 0
    assert not report.is_contradicted


def _table(student: float = 0.2) -> MeasuredTable:
    table = MeasuredTable("table2", "toy", "qwen3", (0, 1, 2))
    rng = np.random.default_rng(0)
    for row, rate in (("Teacher", 0.5), ("Student", student), ("No-reasoning", 0.1), ("SFT", 0.95)):
        table.add(row, "a", "acc", [str(n) for n in range(200)], rng.binomial(16, rate, (3, 200)) / 16)
    return table


def test_an_interval_of_a_share_ends_at_0_and_1():
    share = {("row", "task", "acc"): 0.5, ("row", "other", "acc"): 0.5}
    assert bounded(share, (-0.01, 1.02)) == (0.0, 1.0)
    difference = {("row", "task", "acc"): 1.0, ("rival", "task", "acc"): -1.0}
    assert bounded(difference, (-0.01, 0.02)) == (-0.01, 0.02)
    assert bounded({("row", "task", "token_rkl"): 1.0}, (-0.01, 1.02)) == (-0.01, 1.02)


def test_an_interval_of_hours_ends_at_0_and_one_of_a_correlation_at_1():
    for metric in ("core_hours", "gpu_hours", "tokens"):
        assert bounded({("row", "task", metric): 1.0}, (-0.4, 3.0)) == (0.0, 3.0)
        assert bounded({("row", "task", metric): 1.0, ("rival", "task", metric): -1.0}, (-0.4, 3.0)) == (-0.4, 3.0)
    assert bounded({("row", "task", "wrong_trace_outcome_correlation"): 1.0}, (-1.07, -0.8)) == (-1.0, -0.8)
