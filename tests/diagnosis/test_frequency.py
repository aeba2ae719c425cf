"""Frequency against contribution: the correlation, its blocks, its intervals."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from repro.diagnosis.frequency import Frequencies
from repro.traps import VocabularyContributions

V, KS = 12, (1, 3, 12)


def blocks(seed=0, number=6, steps=40):
    """Contributions of blocks of random logits, and of all blocks together."""
    generator = torch.Generator().manual_seed(seed)
    prior = torch.linspace(-1.5, 1.5, V)
    total, parts = VocabularyContributions(V, KS), []
    for _ in range(number):
        part = VocabularyContributions(V, KS)
        p = prior + torch.randn(1, steps, V, generator=generator)
        q = torch.randn(1, steps, V, generator=generator)
        ids = torch.multinomial(p[0].softmax(-1), 1, generator=generator).T
        for accumulator in (part, total):
            accumulator.update(p, q, ids, torch.ones(1, steps, dtype=torch.bool))
        parts.append(part.result())
    return parts, total.result()


def test_blocks_add_up_to_the_total():
    parts, total = blocks()
    frequencies = Frequencies.of_blocks(parts)
    assert frequencies.ks == KS
    assert np.allclose(frequencies.mean_contribution(), total.mean.numpy()[:, frequencies.ids], equal_nan=True)
    assert np.array_equal(frequencies.realised.sum(0), total.realised_counts.numpy()[frequencies.ids])
    assert np.allclose(
        frequencies.realised_kl.sum(0) / frequencies.realised.sum(0), total.realised_mean.numpy()[frequencies.ids]
    )


def test_the_correlation_is_spearmans():
    parts, total = blocks(1)
    frequencies = Frequencies.of_blocks(parts)
    ids = frequencies.ids[frequencies.common]
    for j, value in enumerate(frequencies.correlations()):
        mean = total.mean.numpy()[j, ids]
        is_seen = np.isfinite(mean)
        expected = spearmanr(total.realised_counts.numpy()[ids][is_seen], mean[is_seen]).statistic
        assert value == pytest.approx(expected)
    assert (frequencies.points() <= len(ids)).all()


def test_influence_values_average_to_the_correlation_and_spread_like_the_bootstrap():
    frequencies = Frequencies.of_blocks(blocks(2, number=25)[0])
    influence_NJ = frequencies.influence()
    assert influence_NJ.mean(0) == pytest.approx(frequencies.correlations())
    jackknife = influence_NJ.std(0, ddof=1) / np.sqrt(len(influence_NJ))
    weights_RN = np.random.default_rng(0).multinomial(25, [1 / 25] * 25, size=300).astype(float)
    bootstrap = np.std([frequencies.correlations(weight_N)[-1] for weight_N in weights_RN])
    assert jackknife[-1] == pytest.approx(bootstrap, rel=0.6)  # two noisy estimates of the same quantity
    assert bootstrap > 0


def test_an_interval_contains_its_estimate():
    for seed in range(6):
        for interval in Frequencies.of_blocks(blocks(seed, number=6)[0]).intervals(0.95):
            if np.isfinite(interval.value):
                assert -1 <= interval.low <= interval.value <= interval.high <= 1
                assert interval.high - interval.low <= 2


def test_a_token_of_few_blocks_is_left_out():
    parts, _ = blocks(3, number=4, steps=3)
    frequencies = Frequencies.of_blocks(parts)
    assert frequencies.common.sum() < len(frequencies.ids)
    assert (frequencies.realised[:, frequencies.common] > 0).sum(0).min() >= 3


def test_too_few_tokens_give_no_correlation():
    frequencies = Frequencies.of_blocks(blocks(0, number=2, steps=1)[0])
    assert np.isnan(frequencies.correlations()[0])
