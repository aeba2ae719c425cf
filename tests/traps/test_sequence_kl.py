"""Sequence log-probabilities and the K forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro.traps import k_forms, sequence_kl, sequence_log_prob

INF = math.inf


def test_realised_tokens_only_and_float64():
    torch.manual_seed(0)
    logits, ids = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 0]])
    expected = [
        sum(math.log(math.exp(float(row[i])) / sum(math.exp(float(z)) for z in row)) for row, i, m in rows if m)
        for rows in (zip(logits[b].double(), ids[b], mask[b]) for b in range(3))
    ]
    result = sequence_log_prob(logits, ids, mask)
    assert result.dtype == torch.float64
    assert result.tolist() == pytest.approx(expected, abs=1e-12)


def test_padding_side_width_and_content_do_not_matter():
    """The value is invariant, not its last bits: another layout may be summed in another order."""
    logits, ids = torch.randn(2, 3, 5), torch.randint(5, (2, 3))
    plain = sequence_log_prob(logits, ids, torch.ones(2, 3))
    wide = torch.full((2, 6, 5), math.nan)
    junk = torch.full((2, 6), -100)
    for start in (0, 1, 3):
        padded, padded_ids, mask = wide.clone(), junk.clone(), torch.zeros(2, 6)
        padded[:, start : start + 3], padded_ids[:, start : start + 3], mask[:, start : start + 3] = logits, ids, 1
        torch.testing.assert_close(sequence_log_prob(padded, padded_ids, mask), plain, rtol=0, atol=1e-12)


def test_lengths_zero_and_one():
    logits, ids = torch.randn(2, 3, 5), torch.randint(5, (2, 3))
    mask = torch.tensor([[0, 0, 0], [0, 1, 0]])
    result = sequence_log_prob(logits, ids, mask)
    assert result[0] == 0
    assert float(result[1]) == pytest.approx(float(logits[1, 1].double().log_softmax(-1)[ids[1, 1]]), abs=1e-12)
    assert sequence_log_prob(logits[:, :0], ids[:, :0], mask[:, :0]).tolist() == [0, 0]
    assert sequence_log_prob(logits[:0], ids[:0], mask[:0]).shape == (0,)


def test_impossible_and_out_of_range_tokens():
    logits = torch.tensor([[[0.0, -INF], [0.0, 0.0]]])
    assert sequence_log_prob(logits, torch.tensor([[1, 0]]), torch.ones(1, 2)).tolist() == [-INF]
    for bad in (2, -100):
        with pytest.raises(ValueError, match=f"token id {bad} is outside the vocabulary of 2 ids"):
            sequence_log_prob(logits, torch.tensor([[0, bad]]), torch.ones(1, 2))
    with pytest.raises(ValueError, match="outside the vocabulary of 1 "):
        sequence_log_prob(logits, torch.tensor([[0, 1]]), torch.ones(1, 2), vocab_size=1)
    with pytest.raises(ValueError, match="NaN at position"):
        sequence_log_prob(logits * math.nan, torch.tensor([[0, 0]]), torch.ones(1, 2))
    with pytest.raises(ValueError, match="do not fit"):
        sequence_log_prob(logits, torch.tensor([[0]]), torch.ones(1, 2))


@given(st.lists(st.tuples(st.floats(-1e4, 0), st.floats(-1e4, 0)), min_size=1, max_size=9))
def test_k_forms_hold_at_any_size(pairs):
    p, q = torch.tensor(pairs, dtype=torch.float64).T
    forms = k_forms(p, q)
    assert torch.equal(forms.k1, p - q)
    assert (forms.k2 >= 0).all()
    assert (forms.k3 >= 0).all()  # +inf beyond float64, never NaN
    assert sequence_kl(p, q) == pytest.approx(float((p - q).mean()))


def test_k3_keeps_small_differences():
    p = torch.tensor([-700.0], dtype=torch.float64)
    assert float(k_forms(p, p + 1e-5).k3) == pytest.approx(0.5e-10, rel=1e-4)
    assert float(k_forms(p, torch.tensor([-INF])).k3) == INF


def test_unusable_log_probs():
    log_prob = torch.tensor([-1.0])
    with pytest.raises(ValueError, match="p log-probabilities"):
        k_forms(torch.tensor([-INF]), log_prob)
    with pytest.raises(ValueError, match="q log-probabilities"):
        k_forms(log_prob, torch.tensor([math.nan]))
    with pytest.raises(ValueError, match="no sequences"):
        sequence_kl(log_prob[:0], log_prob[:0])
