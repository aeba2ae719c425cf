"""The streaming pass equals the logits form, whatever the head, the chunks and the precision."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streaming_reference import HEADS, check, make_head

from repro.traps import OutputHead, VocabularyContributions, entropy, stream_divergences, token_kl
from repro.traps.top_ranks import block_maxima, top_ranks


@pytest.mark.parametrize("p_kind", HEADS)
@pytest.mark.parametrize("ranked_by", ["p", "q"])
def test_equals_the_logits_form(p_kind, ranked_by):
    torch.manual_seed(0)
    V, T = 300, 11
    heads = make_head(V, 8, torch.float64, **HEADS[p_kind]), make_head(V, 12, torch.float64, **HEADS["all"])
    hidden = torch.randn(T, 8).double(), torch.randn(T, 12).double()
    ids = torch.randint(V, (T,))
    for temperature in (1.0, 0.6):
        check(
            hidden[0], heads[0], hidden[1], heads[1], ids, [50, 1, V, 3], 1e-11,
            temperature=temperature, ranked_by=ranked_by, logit_bytes=2 * 384 * 8 * 4,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_multiplied_in_float32(dtype):
    """bf16 logits would be off by 1e-1; the error here is that of float32."""
    torch.manual_seed(0)
    V, T, H = 5000, 6, 64
    p_head, q_head = make_head(V, H, dtype, bias=True, scale=0.2), make_head(V, H, dtype, scale=0.2)
    p_hidden, q_hidden = torch.randn(T, H).to(dtype), torch.randn(T, H).to(dtype)
    check(p_hidden, p_head, q_hidden, q_head, torch.randint(V, (T,)), [1, 10, V], 2e-5)


def test_padded_ids_are_masked():
    torch.manual_seed(0)
    p_head, q_head = make_head(140, 8, torch.float64), make_head(133, 8, torch.float64)
    p_hidden, q_hidden = torch.randn(4, 8).double(), torch.randn(4, 8).double()
    p_head.weight[130:] = math.nan  # never looked at
    check(p_hidden, p_head, q_hidden, q_head, torch.tensor([0, 5, 129, 64]), [2, 130], 1e-11, V=130)
    with pytest.raises(ValueError, match=r"140 and 133 ids.*vocab_size=133"):
        stream_divergences(p_hidden, p_head, q_hidden, q_head)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
def test_chunks_do_not_matter(dtype, tolerance):
    """In float32 up to ten units in the last place of the largest logit, about 16."""
    torch.manual_seed(0)
    V, T = 700, 37
    p_head, q_head = make_head(V, 16, dtype, scale=0.5), make_head(V, 24, dtype, scale=0.5)
    p_hidden, q_hidden, ids = torch.randn(T, 16, dtype=dtype), torch.randn(T, 24, dtype=dtype), torch.randint(V, (T,))
    unchunked = stream_divergences(p_hidden, p_head, q_hidden, q_head, ids, ks=[1, 20], entropies=True)
    row_bytes = 2 * 768 * dtype.itemsize
    for logit_bytes in (1, row_bytes * 5, row_bytes * 36):
        part = stream_divergences(
            p_hidden, p_head, q_hidden, q_head, ids, ks=[1, 20], entropies=True, logit_bytes=logit_bytes
        )
        for name in ("kl_pq", "kl_qp", "entropy_p", "entropy_q", "log_p", "log_q", "partial_sums"):
            torch.testing.assert_close(getattr(part, name), getattr(unchunked, name), rtol=0, atol=tolerance)
    # Nor does it matter how the positions are dealt out over calls
    first = stream_divergences(p_hidden[:9], p_head, q_hidden[:9], q_head, ids[:9])
    torch.testing.assert_close(first.kl_pq, unchunked.kl_pq[:9], rtol=0, atol=tolerance)


def test_only_what_was_requested():
    head = make_head(5, 3, torch.float32)
    result = stream_divergences(torch.randn(2, 3), head, torch.randn(2, 3), head)
    assert result.entropy_p is result.entropy_q is result.partial_sums is result.log_p is result.log_q is None
    assert result.kl_pq.shape == result.kl_qp.shape == (2,)


@pytest.mark.parametrize("T", [0, 1])
@pytest.mark.parametrize("V", [1, 2, 128, 129])
def test_small_shapes(T, V):
    torch.manual_seed(0)
    p_head, q_head = make_head(V, 3, torch.float64), make_head(V, 3, torch.float64)
    p_hidden, q_hidden = torch.randn(T, 3).double(), torch.randn(T, 3).double()
    if T:
        check(p_hidden, p_head, q_hidden, q_head, torch.randint(V, (T,)), [1, V], 1e-12)
    else:
        added = VocabularyContributions(V, [V])
        ids = torch.empty(0, dtype=torch.long)
        result = stream_divergences(p_hidden, p_head, q_hidden, q_head, ids, ks=[1], contributions=added)
        assert result.partial_sums.shape == (1, 0)
        with pytest.raises(ValueError, match="no step"):
            added.result()


def test_equal_models_have_no_divergence():
    head, hidden = make_head(400, 8, torch.float32), torch.randn(9, 8)
    result = stream_divergences(hidden, head, hidden, head, ks=[1, 400])
    assert not result.kl_pq.any()
    assert not result.kl_qp.any()
    assert not result.partial_sums.any()


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=6), st.floats(-1e4, 1e4))
def test_extreme_logits(values, shift):
    """One hidden unit of 1: the weights are the logits."""
    p, q = torch.tensor(values, dtype=torch.float64).T
    unit = torch.ones(1, 1, dtype=torch.float64)
    V = len(p)
    result = stream_divergences(
        unit, OutputHead(p[:, None] + shift), unit, OutputHead(q[:, None]), torch.tensor([0]), ks=[V], entropies=True
    )
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(result.kl_pq, token_kl(p[None], q[None]), **close)
    torch.testing.assert_close(result.kl_qp, token_kl(q[None], p[None]), **close)
    torch.testing.assert_close(result.entropy_p, entropy(p[None]), **close)


def test_equal_logits_rank_by_id():
    constant, random = OutputHead(torch.zeros(600, 2)), make_head(600, 2, torch.float32)
    hidden = torch.randn(3, 2)
    check(hidden, constant, hidden, random, torch.tensor([0, 1, 2]), [1, 4, 599], 1e-6)


@pytest.mark.parametrize("k", [1, 3, 60])
def test_top_ranks_equal_a_stable_sort(k):
    torch.manual_seed(0)
    for scores in (
        torch.randn(5, 4096),
        torch.randint(-9, 9, (5, 4096)).float(),
        torch.randn(5, 4096).bfloat16().float(),
    ):
        expected = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        assert torch.equal(top_ranks(scores, block_maxima(scores), k), expected)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["p", "q"])
def test_unusable_logits_are_named_and_nothing_is_added(value, where):
    heads = {name: make_head(200, 4, torch.float32) for name in "pq"}
    hidden = {name: torch.randn(6, 4) for name in "pq"}
    hidden[where][4, 2] = value
    added = VocabularyContributions(200, [1, 200])
    ids = torch.zeros(6, dtype=torch.long)
    with pytest.raises(ValueError, match=rf"{where}.* logits hold .* at position 4"):
        stream_divergences(
            hidden["p"], heads["p"], hidden["q"], heads["q"], ids, contributions=added, logit_bytes=2 * 256 * 4 * 2
        )
    with pytest.raises(ValueError, match="no step"):
        added.result()


def test_refusals():
    head, hidden, ids = make_head(5, 3, torch.float32), torch.randn(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="need token_ids_T"):
        stream_divergences(hidden, head, hidden, head, contributions=VocabularyContributions(5, [1]))
    with pytest.raises(ValueError, match=r"ranked by p.*ranked by q"):
        stream_divergences(
            hidden, head, hidden, head, ids, contributions=VocabularyContributions(5, [1]), ranked_by="q"
        )
    with pytest.raises(ValueError, match=r"1\.\.5"):
        stream_divergences(hidden, head, hidden, head, ks=[6])
    with pytest.raises(ValueError, match="outside the vocabulary of 5"):
        stream_divergences(hidden, head, hidden, head, torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="one each"):
        stream_divergences(hidden, head, hidden[:1], head)
    with pytest.raises(ValueError, match="do not fit its output layer"):
        stream_divergences(hidden[:, :2], head, hidden, head)
    with pytest.raises(ValueError, match="temperature"):
        stream_divergences(hidden, head, hidden, head, temperature=0)
    with pytest.raises(ValueError, match="vocab_size 6"):
        stream_divergences(hidden, head, hidden, head, vocab_size=6)
    with pytest.raises(ValueError, match="not finite"):
        OutputHead(torch.randn(2, 3), torch.tensor([0.0, -math.inf]))
    with pytest.raises(ValueError, match="does not fit"):
        OutputHead(torch.randn(2, 3), torch.zeros(3))
    with pytest.raises(ValueError, match="softcap"):
        OutputHead(torch.randn(2, 3), softcap=0.0)
    with pytest.raises(ValueError, match=r"\[V, H\]"):
        OutputHead(torch.randn(3))
