"""Eq 4 against plain loops, and its identities."""

import math

import pytest
import torch

from repro.traps import VocabularyContributions, token_kl

V = 7


@pytest.fixture
def batch():
    torch.manual_seed(0)
    p, q = torch.randn(3, 5, V, dtype=torch.float64) * 2, torch.randn(3, 5, V, dtype=torch.float64) * 2
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    return p, q, torch.randint(V, (3, 5)), mask


def accumulate(ks, batch, **options):
    accumulator = VocabularyContributions(V, ks, **options)
    accumulator.update(*batch)
    return accumulator.result()


@pytest.mark.parametrize("ranked_by", ["p", "q"])
def test_against_loops(batch, ranked_by):
    p, q, ids, mask = batch
    result = accumulate([3, 1, V], batch, ranked_by=ranked_by)
    assert result.ks == (1, 3, V)
    logp, logq = p.log_softmax(-1), q.log_softmax(-1)
    for j, k in enumerate(result.ks):
        for v in range(V):
            values = [
                float(logp[b, t, v].exp() * (logp[b, t, v] - logq[b, t, v]))
                for b, t in mask.nonzero().tolist()
                if v in (logp if ranked_by == "p" else logq)[b, t].topk(k).indices
            ]
            assert result.counts[j, v] == len(values)
            expected = sum(values) / len(values) if values else math.nan
            assert float(result.mean[j, v]) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    kl = token_kl(p, q)
    for v in range(V):
        values = kl[(ids == v) & mask.bool()]
        expected = float(values.mean()) if len(values) else math.nan
        assert float(result.realised_mean[v]) == pytest.approx(expected, nan_ok=True)
        assert result.realised_counts[v] == len(values)


def test_full_vocabulary_adds_up_to_token_kl(batch):
    p, q, _, mask = batch
    result = accumulate([V], batch)
    mean_kl = float(token_kl(p, q)[mask.bool()].mean())
    assert float(result.mean[0].sum()) == pytest.approx(mean_kl, abs=1e-12)
    assert result.steps == int(mask.sum())
    realised = result.realised_counts > 0
    weighted = (result.realised_mean * result.realised_counts)[realised].sum() / result.steps
    assert float(weighted) == pytest.approx(mean_kl, abs=1e-12)


def test_batches_and_shards_do_not_matter(batch):
    p, q, ids, mask = batch
    total = accumulate([1, 2, V], batch)
    split, shard = VocabularyContributions(V, [1, 2, V]), VocabularyContributions(V, [1, 2, V])
    split.update(p[:1], q[:1], ids[:1], mask[:1])
    shard.update(p[1:], q[1:], ids[1:], mask[1:])
    split.merge(shard)
    for name in ("mean", "counts", "realised_mean", "realised_counts"):
        torch.testing.assert_close(getattr(split.result(), name), getattr(total, name), equal_nan=True)
    with pytest.raises(ValueError, match="different kinds"):
        split.merge(VocabularyContributions(V, [1]))


def test_shift_padding_and_masked_content_do_not_matter(batch):
    p, q, ids, mask = batch
    total = accumulate([2, V], batch)
    wide_p, wide_q = torch.nn.functional.pad(p + 3, (0, 2), value=50.0), torch.nn.functional.pad(q - 9, (0, 1))
    wide_p[2], wide_q[1, 3] = math.nan, math.nan
    ids = torch.where(mask.bool(), ids, -100)
    torch.testing.assert_close(accumulate([2, V], (wide_p, wide_q, ids, mask)).mean, total.mean, equal_nan=True)


def test_impossible_ids():
    p, q = torch.tensor([[0.0, 0.0, -math.inf]]), torch.tensor([[0.0, -math.inf, -math.inf]])
    accumulator = VocabularyContributions(3, [1, 3])
    accumulator.update(p, q, torch.tensor([0]), torch.tensor([1]))
    result = accumulator.result()
    assert result.mean[1].tolist() == [pytest.approx(0.5 * math.log(0.5)), math.inf, 0]
    assert math.isnan(result.mean[0, 1])


def test_refusals(batch):
    p, q, ids, mask = batch
    for ks in ([], [0], [V + 1]):
        with pytest.raises(ValueError, match=r"1\.\.7"):
            VocabularyContributions(V, ks)
    with pytest.raises(ValueError, match="ranked_by"):
        VocabularyContributions(V, [1], ranked_by="teacher")
    accumulator = VocabularyContributions(V, [1])
    with pytest.raises(ValueError, match="no step"):
        accumulator.result()
    accumulator.update(p, q, ids, torch.zeros(3, 5))
    with pytest.raises(ValueError, match="no step"):
        accumulator.result()
    with pytest.raises(ValueError, match="outside the vocabulary"):
        accumulator.update(p, q, ids + V, mask)
    with pytest.raises(ValueError, match="do not fit"):
        accumulator.update(p, q, ids[:, :2], mask)
    with pytest.raises(ValueError, match="vocab_size 7"):
        accumulator.update(p[..., :5], q, ids, mask)
    p[0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="p logits hold NaN"):
        accumulator.update(p, q, ids, mask)
    with pytest.raises(ValueError, match="no step"):
        accumulator.result()  # nothing half-added
