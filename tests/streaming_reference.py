"""What the streaming pass must equal: the logits form in float64."""

import torch

from repro.traps import (
    OutputHead,
    VocabularyContributions,
    entropy,
    stream_divergences,
    token_kl,
    top_k_partial_sums,
)

HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.25},
    "softcap": {"softcap": 5.0},
    "all": {"bias": True, "scale": 1.7, "softcap": 3.0},
}


def make_head(V, H, dtype, bias=False, **options):
    weight = torch.randn(V, H).to(dtype)
    return OutputHead(weight, torch.randn(V).to(dtype) if bias else None, **options)


def reference_logits(hidden, head, temperature=1.0):
    """Compute logits in float64, in the order that the models apply it."""
    z = hidden.double() @ head.weight.double().T
    if head.bias is not None:
        z = z + head.bias.double()
    z = z * head.scale
    if head.softcap is not None:
        z = head.softcap * torch.tanh(z / head.softcap)
    return z / temperature


def check(p_hidden, p_head, q_hidden, q_head, ids, ks, tolerance, *, V=None, temperature=1.0, **options):
    V = V or len(p_head.weight)
    ranked_by = options.get("ranked_by", "p")
    streamed_into = VocabularyContributions(V, ks, ranked_by=ranked_by)
    result = stream_divergences(
        p_hidden, p_head, q_hidden, q_head, ids, ks=ks, contributions=streamed_into, entropies=True,
        temperature=temperature, vocab_size=V, **options,
    )  # fmt: skip
    p, q = (
        reference_logits(p_hidden, p_head, temperature)[:, :V],
        reference_logits(q_hidden, q_head, temperature)[:, :V],
    )
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(result.kl_pq, token_kl(p, q), **close)
    torch.testing.assert_close(result.kl_qp, token_kl(q, p), **close)
    torch.testing.assert_close(result.entropy_p, entropy(p), **close)
    torch.testing.assert_close(result.entropy_q, entropy(q), **close)
    torch.testing.assert_close(result.log_p, p.log_softmax(-1).gather(1, ids[:, None])[:, 0], **close)
    torch.testing.assert_close(result.log_q, q.log_softmax(-1).gather(1, ids[:, None])[:, 0], **close)
    torch.testing.assert_close(result.partial_sums, top_k_partial_sums(p, q, ks, ranked_by=ranked_by), **close)
    expected = VocabularyContributions(V, ks, ranked_by=ranked_by)
    expected.update(p, q, ids, torch.ones_like(ids))
    expected, streamed = expected.result(), streamed_into.result()
    assert torch.equal(streamed.counts, expected.counts)
    assert torch.equal(streamed.realised_counts, expected.realised_counts)
    torch.testing.assert_close(streamed.mean, expected.mean, equal_nan=True, **close)
    torch.testing.assert_close(streamed.realised_mean, expected.realised_mean, equal_nan=True, **close)
    return result
