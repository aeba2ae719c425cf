"""Figure 2's claims in pairs of models whose tail noise is known."""

import numpy as np
import pytest
from tail_worlds import draw_tail_world
from verdict_statistics import floor_rates, tail_rates

from repro.printed.load import load, load_claims
from repro.tables.verdicts.verdict import verdict

TAIL_CLAIMS = {"frequency-effect-in-tail", "tail-dominates", "tail-carries-kl"}


def verdicts(tail, seed):
    table = draw_tail_world(tail, seed)
    return table, {v.claim: v for v in verdict(table, load("figure2"), resamples=500).claims}


@pytest.mark.parametrize("seed", range(3))
def test_a_tail_that_carries_nothing_reproduces_no_claim_about_the_tail(seed):
    """The correlation over all steps is +0.6 there: the claims were about it, and could not fail."""
    table, judged = verdicts("nothing", seed)
    assert table.mean("K=V", "task", "frequency_correlation") > 0.4
    assert table.mean("tail", "task", "tail_share") == pytest.approx(0, abs=1e-9)
    assert table.mean("tail", "task", "frequency_correlation") == 0
    assert {judged[claim].value for claim in TAIL_CLAIMS} == {"contradicted"}


@pytest.mark.parametrize("seed", range(3))
def test_planted_tail_noise_reproduces_them(seed):
    _, judged = verdicts("frequent", seed)
    assert {judged[claim].value for claim in TAIL_CLAIMS} == {"reproduced"}


@pytest.mark.parametrize("seed", range(3))
def test_noise_without_regard_to_frequency_reproduces_neither(seed):
    _, judged = verdicts("even", seed)
    assert judged["tail-dominates"].value == "contradicted"
    assert judged["frequency-effect-in-tail"].value != "reproduced"


def test_the_claims_about_the_tail_are_those_of_the_tails_row():
    assert {c.id for c in load_claims("figure2") if c.left.row == "tail"} == TAIL_CLAIMS


def test_the_published_rates_are_of_these_worlds():
    assert tail_rates("nothing", 3, 0) == dict.fromkeys(TAIL_CLAIMS, (0.0, 1.0))
    assert tail_rates("frequent", 3, 0) == dict.fromkeys(TAIL_CLAIMS, (1.0, 0.0))


def test_a_guessing_student_is_seldom_called_collapsed():
    reproduced, not_testable = floor_rates(40, np.random.default_rng(0))
    assert not_testable > 0.8
    assert reproduced < 0.2
