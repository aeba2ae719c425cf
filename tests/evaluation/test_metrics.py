"""maj@k, pass@k and accuracy against their definitions, by enumeration where there is one."""

import itertools
import random

import pytest

from repro.evaluation.metrics import accuracy, maj_at_k, pass_at_k


def test_accuracy_counts_the_unparsed_as_wrong():
    assert accuracy(["7", None, "3", "7"], "7") == 0.5


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["7", "7", "3"], 1.0),
        (["3", "3", "7"], 0.0),
        (["7", "3"], 0.5),  # a two-way tie: the expected value of a fair choice
        (["7", "3", "5"], 1 / 3),
        ([None, None, "7"], 1.0),  # unparsed completions never win
        ([None, None, None], 0.0),
        ([None, "3", "7"], 0.5),
        (["3", "5"], 0.0),  # a tie among wrong answers
    ],
)
def test_majority(answers, expected):
    assert maj_at_k(answers, "7") == pytest.approx(expected)


def test_majority_does_not_depend_on_the_order_of_samples():
    answers = ["7", "7", "3", "3", None, "5"]
    values = {maj_at_k(list(order), "7") for order in itertools.permutations(answers)}
    assert values == {0.5}


def test_majority_of_ties_is_the_mean_of_random_tie_breaks():
    answers = ["7", "7", "3", "3", "5", "5", "1"]
    rng = random.Random(0)
    draws = [rng.choice(["7", "3", "5"]) == "7" for _ in range(20_000)]
    assert maj_at_k(answers, "7") == pytest.approx(sum(draws) / len(draws), abs=0.012)


@pytest.mark.parametrize("right", range(7))
@pytest.mark.parametrize("k", range(1, 7))
def test_pass_at_k_is_the_share_of_subsets_that_hold_a_right_answer(right, k):
    answers = ["7"] * right + ["3"] * (6 - right)
    subsets = list(itertools.combinations(answers, k))
    expected = sum("7" in subset for subset in subsets) / len(subsets)
    assert pass_at_k(answers, "7", k) == pytest.approx(expected, abs=1e-12)


def test_pass_at_all_is_any_right():
    assert pass_at_k(["3", None, "7"], "7") == 1.0
    assert pass_at_k(["3", None, "5"], "7") == 0.0


def test_pass_at_k_is_at_least_accuracy_and_majority():
    """pass@k >= acc and pass@k >= maj@k: both need a right answer."""
    rng = random.Random(1)
    for _ in range(200):
        answers = [rng.choice(["7", "3", "5", None]) for _ in range(8)]
        assert pass_at_k(answers, "7") >= max(accuracy(answers, "7"), maj_at_k(answers, "7"))


@pytest.mark.parametrize("metric", [accuracy, maj_at_k, pass_at_k])
def test_no_answers_is_an_error(metric):
    with pytest.raises(ValueError, match="no answers"):
        metric([], "7")


@pytest.mark.parametrize("k", [0, 3])
def test_pass_at_impossible_k(k):
    with pytest.raises(ValueError, match="needs 1 <= k <= 2"):
        pass_at_k(["7", "3"], "7", k)
