"""Frequency against contribution: the correlation, its blocks, its intervals."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from repro.diagnosis.frequency import Frequencies
from repro.traps import VocabularyContributions

V, KS = 12, (1, 3, 12)


def blocks(seed=0, number=6, steps=40):
    """Accumulations over random logits, and one over all of them."""
    generator = torch.Generator().manual_seed(seed)
    prior = torch.linspace(-1.5, 1.5, V)
    whole, parts = VocabularyContributions(V, KS), []
    for _ in range(number):
        part = VocabularyContributions(V, KS)
        p = prior + torch.randn(1, steps, V, generator=generator)
        q = torch.randn(1, steps, V, generator=generator)
        ids = torch.multinomial(p[0].softmax(-1), 1, generator=generator).T
        for one in (part, whole):
            one.update(p, q, ids, torch.ones(1, steps, dtype=torch.bool))
        parts.append(part.result())
    return parts, whole.result()


def test_blocks_add_up_to_the_whole():
    parts, whole = blocks()
    found = Frequencies.of_blocks(parts)
    assert found.ks == KS
    assert np.allclose(found.mean_contribution(), whole.mean.numpy()[:, found.ids], equal_nan=True)
    assert np.array_equal(found.realised.sum(0), whole.realised_counts.numpy()[found.ids])
    assert np.allclose(found.realised_kl.sum(0) / found.realised.sum(0), whole.realised_mean.numpy()[found.ids])


def test_the_correlation_is_spearmans():
    parts, whole = blocks(1)
    found = Frequencies.of_blocks(parts)
    ids = found.ids[found.common]
    for j, value in enumerate(found.correlations()):
        mean = whole.mean.numpy()[j, ids]
        seen = np.isfinite(mean)
        expected = spearmanr(whole.realised_counts.numpy()[ids][seen], mean[seen]).statistic
        assert value == pytest.approx(expected)
    assert (found.points() <= len(ids)).all()


def test_influence_values_average_to_the_correlation_and_spread_like_the_bootstrap():
    found = Frequencies.of_blocks(blocks(2, number=25)[0])
    influence_NJ = found.influence()
    assert influence_NJ.mean(0) == pytest.approx(found.correlations())
    jackknife = influence_NJ.std(0, ddof=1) / np.sqrt(len(influence_NJ))
    weights_RN = np.random.default_rng(0).multinomial(25, [1 / 25] * 25, size=300).astype(float)
    bootstrap = np.std([found.correlations(weight_N)[-1] for weight_N in weights_RN])
    assert jackknife[-1] == pytest.approx(bootstrap, rel=0.6)  # two estimates of one thing, each noisy
    assert bootstrap > 0


def test_an_interval_holds_its_own_estimate():
    for seed in range(6):
        for one in Frequencies.of_blocks(blocks(seed, number=6)[0]).intervals(0.95):
            if np.isfinite(one.value):
                assert -1 <= one.low <= one.value <= one.high <= 1
                assert one.high - one.low <= 2


def test_a_token_of_one_block_is_no_point():
    parts, _ = blocks(3, number=4, steps=3)
    found = Frequencies.of_blocks(parts)
    assert found.common.sum() < len(found.ids)
    assert (found.realised[:, found.common] > 0).sum(0).min() >= 3


def test_too_few_tokens_are_no_correlation():
    found = Frequencies.of_blocks(blocks(0, number=2, steps=1)[0])
    assert np.isnan(found.correlations()[0])
