"""Token KL, partial sums, entropy: analytic values, identities, extremes."""

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro.traps import entropy, per_token, token_kl, top_k_partial_sums

INF = math.inf


def logits_pairs(low=-1e4, high=1e4, infinities=False):
    """Two arrays [positions, V] of the same shape; -inf leaves each row at least its first entry."""
    shapes = st.tuples(st.integers(0, 3), st.integers(1, 6))

    def pair(shape):
        values = arrays.arrays(np.float64, shape, elements=st.floats(low, high, width=32))
        if not infinities:
            return st.tuples(values, values)
        holes = arrays.arrays(bool, shape)

        def dig(x, hole):
            hole[..., 0] = False
            return np.where(hole, -INF, x)

        return st.tuples(st.builds(dig, values, holes), st.builds(dig, values, holes))

    return shapes.flatmap(pair)


def test_directions_by_hand():
    p, q = torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor([0.25, 0.25, 0.5]).log()
    assert float(token_kl(p, q)) == pytest.approx(0.25 * math.log(2), abs=1e-7)
    r = torch.tensor([0.7, 0.2, 0.1])
    by_hand = sum(a * math.log(a / b) for a, b in zip((0.5, 0.25, 0.25), (0.7, 0.2, 0.1)))
    reverse = sum(a * math.log(a / b) for a, b in zip((0.7, 0.2, 0.1), (0.5, 0.25, 0.25)))
    assert float(token_kl(p, r.log())) == pytest.approx(by_hand, abs=1e-6)
    assert float(token_kl(r.log(), p)) == pytest.approx(reverse, abs=1e-6)
    assert by_hand != pytest.approx(reverse, rel=1e-2)


def test_impossible_ids():
    p = torch.tensor([[0.0, 0.0, -INF], [0.0, 0.0, 0.0], [1.0, -INF, -INF]], dtype=torch.float64)
    q = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -INF], [2.0, -INF, -INF]], dtype=torch.float64)
    assert token_kl(p, q).tolist() == pytest.approx([math.log(1.5), INF, 0.0], abs=1e-12)


def test_gradient_is_finite_where_an_id_is_impossible_for_both():
    p = torch.tensor([0.3, -0.2, -INF], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.1, 0.4, -INF], dtype=torch.float64, requires_grad=True)
    token_kl(p, q).backward()
    assert torch.isfinite(p.grad).all()
    assert torch.isfinite(q.grad).all()
    assert p.grad[2] == q.grad[2] == 0


def test_padded_vocabulary_is_cut():
    p, q = torch.randn(4, 5), torch.randn(4, 7)
    expected = token_kl(p[:, :5], q[:, :5])
    torch.testing.assert_close(token_kl(p, q, vocab_size=5), expected)
    q[:, 5:] = math.nan  # never looked at
    torch.testing.assert_close(token_kl(p, q, vocab_size=5), expected)
    with pytest.raises(ValueError, match=r"5 and 7 ids.*vocab_size=5"):
        token_kl(p, q)


def test_masked_positions_are_not_read():
    p, q = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    expected = token_kl(p, q) * mask
    p[0, 2], q[1] = math.nan, math.inf
    torch.testing.assert_close(token_kl(p, q, mask=mask), expected)
    assert torch.equal(entropy(p, mask=mask)[1], torch.zeros(3, dtype=torch.float64))
    assert per_token(token_kl(p, q, mask=mask), mask) == pytest.approx(float(expected.sum() / 2))
    with pytest.raises(ValueError, match="no tokens"):
        per_token(expected, torch.zeros(2, 3))


@pytest.mark.parametrize(("value", "what"), [(math.nan, "NaN"), (INF, r"\+inf"), (-INF, "no finite value")])
def test_unusable_logits_are_named(value, what):
    good, bad = torch.zeros(2, 3), torch.zeros(2, 3)
    bad[1] = value
    with pytest.raises(ValueError, match=rf"q logits hold {what} at position \[1\]"):
        token_kl(good, bad)
    with pytest.raises(ValueError, match="p logits hold"):
        token_kl(bad, good)


def test_bad_shapes():
    with pytest.raises(ValueError, match="different positions"):
        token_kl(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="no vocabulary axis"):
        token_kl(torch.zeros(2, 0), torch.zeros(2, 0))
    with pytest.raises(ValueError, match="mask"):
        token_kl(torch.zeros(2, 3), torch.zeros(2, 3), mask=torch.ones(3))
    with pytest.raises(ValueError, match="vocab_size 9"):
        token_kl(torch.zeros(2, 3), torch.zeros(2, 3), vocab_size=9)


@given(logits_pairs(infinities=True))
def test_never_nan_nor_negative(pair):
    kl = token_kl(torch.tensor(pair[0]), torch.tensor(pair[1]))
    assert not torch.isnan(kl).any()
    assert (kl >= -1e-11).all()


@given(logits_pairs(-50, 50), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_shift_invariance(pair, shift_p, shift_q):
    p, q = torch.tensor(pair[0]), torch.tensor(pair[1])
    torch.testing.assert_close(token_kl(p + shift_p, q + shift_q), token_kl(p, q), rtol=1e-9, atol=1e-9)


@given(logits_pairs(infinities=True))
def test_all_of_the_vocabulary_is_the_full_kl(pair):
    p, q = torch.tensor(pair[0]), torch.tensor(pair[1])
    V = p.shape[-1]
    for ranked_by in ("p", "q"):
        sums = top_k_partial_sums(p, q, range(1, V + 1), ranked_by=ranked_by)
        torch.testing.assert_close(sums[-1], token_kl(p, q), rtol=1e-12, atol=1e-12)
    assert not torch.isnan(sums).any()


def test_partial_sums_by_hand():
    p, q = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([0.6, 0.3, 0.1]).double()
    terms = [a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist())]
    by_p = top_k_partial_sums(p.log(), q.log(), [2, 1])
    assert by_p.tolist() == pytest.approx([terms[1] + terms[2], terms[1]])
    by_q = top_k_partial_sums(p.log(), q.log(), [1, 2], ranked_by="q")
    assert by_q.tolist() == pytest.approx([terms[0], terms[0] + terms[1]])
    assert by_q[0] < 0  # a partial sum is not a divergence
    for ks in ([0], [4], []):
        with pytest.raises(ValueError, match=r"1\.\.3"):
            top_k_partial_sums(p.log(), q.log(), ks)


def test_ties_go_to_the_lower_id():
    p, q = torch.zeros(4), torch.tensor([0.0, 1.0, 2.0, 3.0])
    logq = q.double().log_softmax(0)
    expected = 0.25 * (math.log(0.25) - logq)
    assert top_k_partial_sums(p, q, [1, 2]).tolist() == pytest.approx(expected.cumsum(0)[:2].tolist())


def test_one_token_vocabulary():
    p, q = torch.tensor([[3.0], [-1e4]]), torch.tensor([[-2.0], [7.0]])
    assert token_kl(p, q).tolist() == [0, 0]
    assert entropy(p).tolist() == [0, 0]
    assert top_k_partial_sums(p, q, [1]).tolist() == [[0, 0]]


def test_entropy():
    assert float(entropy(torch.zeros(8))) == pytest.approx(math.log(8))
    assert float(entropy(torch.tensor([0.0, 0.0, -INF, -INF]))) == pytest.approx(math.log(2))
    p = torch.randn(5, 9).double()
    uniform = torch.zeros(5, 9)
    torch.testing.assert_close(entropy(p), math.log(9) - token_kl(p, uniform))
    assert token_kl(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)
