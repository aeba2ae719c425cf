"""Wrong-trace preference and forking tokens: by hand, by brute force, and by symmetry."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro.traps import forking_share, wrong_trace_preference
from repro.traps.preference import count_pairs

completions = st.lists(
    st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 2), st.integers(0, 40)), min_size=1, max_size=14
).filter(lambda rows: len({row[2] for row in rows}) < len(rows))


def rate(rows, **options):
    losses, correct, prompts, lengths = zip(*rows)
    return wrong_trace_preference(losses, correct, prompts, lengths, **options)


def test_by_hand():
    result = rate(
        [
            (1.0, False, "a", 100),
            (2.0, True, "a", 105),
            (0.5, True, "a", 300),
            (4.0, False, "b", 10),
            (4.0, True, "b", 10),
            (9.0, True, "only right", 1),
            (9.0, True, "only right", 1),
        ]
    )
    assert (result.pairs, result.prompts, result.matched_pairs) == (3, 2, 2)
    assert result.pooled == pytest.approx(1.5 / 3)
    assert result.per_prompt == pytest.approx((0.5 + 0.5) / 2)
    assert result.length_only == pytest.approx(2.5 / 3)
    assert result.length_matched == pytest.approx(1.5 / 2)


@given(completions)
def test_against_brute_force(rows):
    result = rate(rows)
    pairs = [(w, r) for w in rows for r in rows if w[2] == r[2] and not w[1] and r[1]]
    score = [1.0 if w[0] < r[0] else 0.5 if w[0] == r[0] else 0.0 for w, r in pairs]
    assert result.pairs == len(pairs)
    if not pairs:
        assert math.isnan(result.pooled)
        assert math.isnan(result.per_prompt)
        return
    assert result.pooled == pytest.approx(np.mean(score))
    by_prompt = [[s for s, (w, _) in zip(score, pairs) if w[2] == prompt] for prompt in range(3)]
    assert result.per_prompt == pytest.approx(np.mean([np.mean(s) for s in by_prompt if s]))
    near = [s for s, (w, r) in zip(score, pairs) if abs(w[3] - r[3]) <= 0.1 * max(w[3], r[3])]
    assert result.matched_pairs == len(near)
    assert result.length_matched == pytest.approx(np.mean(near) if near else math.nan, nan_ok=True)


@pytest.mark.parametrize("sizes", [[5] * 7, [16] * 30, [1, 9, 2, 0, 4]])
def test_all_prompts_at_once_equal_one_pair_at_a_time(sizes):
    """Equal to the bit, for completions in any order."""
    rng = np.random.default_rng(len(sizes))
    prompt = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    loss = rng.integers(0, 4, len(prompt)).astype(float)
    length = rng.integers(8, 13, len(prompt)).astype(float)
    right = rng.random(len(prompt)) < rng.random(len(sizes))[prompt]
    counts = count_pairs(loss, right, prompt, length)
    expected = np.zeros((5, len(sizes)))
    for wrong, correct in itertools.product(range(len(prompt)), repeat=2):
        if prompt[wrong] == prompt[correct] and right[correct] and not right[wrong]:
            win = (loss[wrong] < loss[correct]) + 0.5 * (loss[wrong] == loss[correct])
            shorter = (length[wrong] < length[correct]) + 0.5 * (length[wrong] == length[correct])
            near = abs(length[wrong] - length[correct]) <= 0.1 * max(length[wrong], length[correct])
            expected[:, prompt[wrong]] += (1, win, shorter, near, near * win)
    names = ("pairs", "wins", "shorter", "matched_pairs", "matched_wins")
    assert [getattr(counts, name).tolist() for name in names] == expected.tolist()
    pairs, wins = expected[:2]
    assert counts.rate().pooled == wins.sum() / pairs.sum()
    assert counts.rate().per_prompt == pytest.approx((wins[pairs > 0] / pairs[pairs > 0]).mean())


@given(completions)
def test_negated_losses_give_the_complementary_rate(rows):
    result, negated = rate(rows), rate([(-loss, *rest) for loss, *rest in rows])
    assert negated.pooled == pytest.approx(1 - result.pooled, nan_ok=True)
    assert negated.per_prompt == pytest.approx(1 - result.per_prompt, nan_ok=True)
    assert negated.length_only == pytest.approx(result.length_only, nan_ok=True)


def test_tensors_and_infinities():
    result = wrong_trace_preference(
        torch.tensor([math.inf, math.inf, -math.inf]), torch.tensor([1, 0, 0]), torch.tensor([7, 7, 7]), [1, 2, 3]
    )
    assert result.pooled == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        (([], [], [], []), "n >= 1"),
        (([1.0], [True], ["a", "a"], [1]), "n >= 1"),
        (([1.0, math.nan], [True, False], ["a", "a"], [1, 1]), "completion 1 is NaN"),
        (([1.0, 2.0], [True, False], ["a", "a"], [1, -1]), "length"),
        (([1.0, 2.0], [True, False], ["a", "b"], [1, 1]), "one completion per prompt"),
    ],
)
def test_unusable_columns(columns, what):
    with pytest.raises(ValueError, match=what):
        wrong_trace_preference(*columns)


def test_forking_share_by_hand():
    entropy = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    kl = torch.tensor([0.0, 0, 0, 0, 0, 0, 0, 1, 3, 6])
    share = forking_share(entropy, kl)
    assert share.threshold == pytest.approx(0.8)
    assert share.token_share == pytest.approx(0.2)
    assert share.kl_share == pytest.approx(0.9)
    assert (share.kl_above, share.kl_below) == (pytest.approx(4.5), pytest.approx(1 / 8))
    shuffle = torch.randperm(10)
    assert forking_share(entropy[shuffle], kl[shuffle]) == share


def test_equal_entropies_are_no_forks():
    share = forking_share(torch.ones(4), torch.ones(4))
    assert (share.token_share, share.kl_share, share.kl_below) == (0, 0, 1)
    assert math.isnan(share.kl_above)
    assert math.isnan(forking_share(torch.ones(1), torch.zeros(1)).kl_share)


@pytest.mark.parametrize(
    ("entropy", "kl", "quantile", "what"),
    [
        ([], [], 0.8, "one or more"),
        ([1.0], [1.0, 2.0], 0.8, "same tokens"),
        ([1.0], [math.inf], 0.8, "NaN or infinity"),
        ([1.0], [1.0], 1.0, "quantile"),
    ],
)
def test_forking_share_refuses(entropy, kl, quantile, what):
    with pytest.raises(ValueError, match=what):
        forking_share(torch.tensor(entropy), torch.tensor(kl), quantile)
