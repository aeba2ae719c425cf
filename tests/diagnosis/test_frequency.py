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
    for j, value in enumerate(frequencies.correlations()[: len(KS)]):
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
    whole = len(KS) - 1
    bootstrap = np.std([frequencies.correlations(weight_N)[whole] for weight_N in weights_RN])
    assert jackknife[whole] == pytest.approx(bootstrap, rel=0.6)  # two noisy estimates of the same quantity
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


def by_hand(seed=4, number=5, steps=30):
    """Frequencies of random blocks, with every term p(v)(log p(v) - log q(v)) and whether v is outside the Top-3."""
    generator = torch.Generator().manual_seed(seed)
    parts, terms, outside = [], [], []
    for _ in range(number):
        p = torch.randn(1, steps, V, generator=generator, dtype=torch.float64)
        q = torch.randn(1, steps, V, generator=generator, dtype=torch.float64)
        part = VocabularyContributions(V, KS)
        ids = torch.multinomial(p[0].softmax(-1), 1, generator=generator).T
        part.update(p, q, ids, torch.ones(1, steps, dtype=torch.bool))
        parts.append(part.result())
        logp, logq = p[0].log_softmax(-1), q[0].log_softmax(-1)
        terms.append((logp.exp() * (logp - logq)).numpy())
        outside.append((logp.argsort(descending=True).argsort() >= 3).numpy())
    return Frequencies.of_blocks(parts), np.stack(terms), np.stack(outside)


def test_the_tail_is_the_mean_over_steps_with_the_token_outside_the_top_k():
    frequencies, terms, outside = by_hand()
    expected = (terms * outside).sum((0, 1)) / outside.sum((0, 1))
    assert frequencies.names[-1] == "beyond K=3"
    assert frequencies.mean_tail()[1] == pytest.approx(expected[frequencies.ids], rel=1e-9)
    assert frequencies.curves()[-1] == pytest.approx(expected[frequencies.ids], rel=1e-9)


def test_the_tails_share_is_of_every_id_realised_or_not():
    frequencies, terms, outside = by_hand(steps=3)
    assert len(frequencies.ids) < V
    expected = (terms * outside).sum((1, 2)) / terms.sum((1, 2))
    assert frequencies.tail_share()[:, 1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tail_of_rounding_alone_has_no_correlation(dtype):
    """Without the threshold the ranks of rounding errors would be a correlation."""
    generator = torch.Generator().manual_seed(0)
    prior, parts = torch.linspace(2, -2, 60, dtype=dtype), []
    for _ in range(8):
        p = prior.repeat(1, 50, 1)
        ids = torch.multinomial(torch.ones(50, 60), 3, generator=generator)[None]
        heights = 4 + torch.rand(1, 50, 3, generator=generator, dtype=dtype)
        p = p.scatter(2, ids, heights)
        q = p.scatter(2, ids, heights.flip(-1))
        part = VocabularyContributions(60, (1, 3, 60))
        realised = torch.multinomial(p[0].softmax(-1), 1, generator=generator).T
        part.update(p, q, realised, torch.ones(1, 50, dtype=torch.bool))
        parts.append(part.result())
    frequencies = Frequencies.of_blocks(parts)
    correlations = dict(zip(frequencies.names, frequencies.correlations()))
    assert correlations["beyond K=3"] == 0
    assert np.abs(frequencies.tail_share()[:, 1]).max() < 1e-5
