"""All token-level estimators at once, from hidden states, in one pass that never holds all logits.

Both output layers are applied to a chunk of positions, and everything that was requested (KL in both directions,
Top-K partial sums, per-entry contributions, realised log-probabilities, entropies) is computed from that chunk a few
rows at a time, so each head is multiplied once. Memory depends on the vocabulary, not on the number of positions.

bf16 and float16 inputs are multiplied in float32; float32 sums run over blocks of 128 ids, and block totals are added
in float64. With float64 inputs everything is float64. For measurement only: there are no gradients. On a GPU with
Triton, `fused` computes the statistics.
Shapes: T positions, R of them in a chunk, r in a tile, V vocabulary (W when padded to whole blocks), H hidden size (may
differ between p and q), J values of K. p and q as in `token_kl`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repro.traps.contributions import VocabularyContributions
from repro.traps.fused import can_fuse, stream_fused
from repro.traps.heads import OutputHead
from repro.traps.stream_inputs import StreamInputs
from repro.traps.tiles import stream_tiles
from repro.traps.token_kl import RankedBy, check_ks

# Both models' logits of one chunk. Each chunk reads both output layers: 170 rows cost 10 % more than 256.
LOGIT_BYTES = 300 * 2**20
# A GPU needs a few thousand rows per matmul, and its memory also holds the models
GPU_LOGIT_BYTES = 4 * 2**30
GPU_FREE_SHARE = 8


@dataclass(frozen=True)
class StreamedDivergences:
    """Results as float64 on the inputs' device, nats per position; None for what was not requested.

    Attributes:
        kl_pq: [T] KL(p||q). kl_qp: [T] KL(q||p). With p the student and q the teacher: reverse and forward KL.
        entropy_p, entropy_q: [T].
        partial_sums: [J, T] sums of the KL(p||q) terms over the Top-K ids, in the order of `ks`.
        log_p, log_q: [T] log-probability of the realised token under each.
    """

    kl_pq: Tensor
    kl_qp: Tensor
    entropy_p: Tensor | None
    entropy_q: Tensor | None
    partial_sums: Tensor | None
    log_p: Tensor | None
    log_q: Tensor | None


@torch.no_grad()
def stream_divergences(
    p_hidden_TH: Tensor,
    p_head: OutputHead,
    q_hidden_TH: Tensor,
    q_head: OutputHead,
    token_ids_T: Tensor | None = None,
    *,
    ks: Sequence[int] = (),
    contributions: VocabularyContributions | None = None,
    entropies: bool = False,
    ranked_by: RankedBy = "p",
    temperature: float = 1.0,
    vocab_size: int | None = None,
    logit_bytes: int | None = None,
) -> StreamedDivergences:
    """Compute Eq 2 in both directions, Eq 4 and the realised tokens' log-probabilities (Eq 1) from hidden states.

    Args:
        p_hidden_TH, q_hidden_TH: [T, H] last hidden states of p and q, at the positions that count only (select them
            first). p_head, q_head: their output layers.
        token_ids_T: [T] realised ids; requests the log-probabilities. Needed for contributions.
        ks: requests partial sums over the Top-K of KL(p||q).
        contributions: accumulates Eq 4 of KL(p||q) over all positions; unchanged after an error.
        entropies: requests the entropies of both.
        ranked_by: whose probabilities decide the Top-K; must match that of `contributions`.
        temperature: divides both models' logits.
        vocab_size: ids from here on are padding and are masked in both. None: no padding, and both heads have V ids.
        logit_bytes: memory for both models' logits of one chunk; changes the result by rounding only. None: 300 MiB on
            a CPU; on a GPU an eighth of the free memory, between 300 MiB and 4 GiB.

    Raises:
        ValueError: NaN or infinite logits, vocabularies that differ, ids outside the vocabulary, a K outside
            1..|V|, or shapes and options that do not fit.
    """
    V = _vocabulary_size(p_head, q_head, vocab_size)
    _check_positions(p_hidden_TH, p_head, q_hidden_TH, q_head, token_ids_T, V)
    if ks:
        check_ks(ks, V)
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} must be above 0")
    if contributions is not None:
        _check_contributions(contributions, V, ranked_by, token_ids_T)

    weights = (p_hidden_TH, p_head.weight, q_hidden_TH, q_head.weight)
    dtype = torch.float64 if any(x.dtype == torch.float64 for x in weights) else torch.float32
    inputs = StreamInputs(
        p_hidden_TH, p_head, q_hidden_TH, q_head, token_ids_T, tuple(ks), contributions, entropies, ranked_by,
        temperature, V, dtype, default_logit_bytes(p_hidden_TH.device) if logit_bytes is None else logit_bytes,
    )  # fmt: skip
    fuses = can_fuse(p_hidden_TH.device, dtype, max(inputs.ranked_ks, default=0), V)
    rows, partial_JT = stream_fused(inputs) if fuses else stream_tiles(inputs)
    has_ids = token_ids_T is not None
    return StreamedDivergences(
        kl_pq=rows["kl_pq"],
        kl_qp=rows["kl_qp"],
        entropy_p=rows["entropy_p"] if entropies else None,
        entropy_q=rows["entropy_q"] if entropies else None,
        partial_sums=partial_JT if ks else None,
        log_p=rows["log_p"] if has_ids else None,
        log_q=rows["log_q"] if has_ids else None,
    )


def default_logit_bytes(device: torch.device) -> int:
    """Return the default bytes for both models' logits of one chunk; on a GPU it depends on the free memory."""
    if device.type != "cuda":
        return LOGIT_BYTES
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(LOGIT_BYTES, min(GPU_LOGIT_BYTES, free // GPU_FREE_SHARE))


def _vocabulary_size(p_head: OutputHead, q_head: OutputHead, vocab_size: int | None) -> int:
    p, q = len(p_head.weight), len(q_head.weight)
    if vocab_size is None:
        if p != q:
            raise ValueError(
                f"p and q vocabularies differ: {p} and {q} ids; with one tokenizer and padded output layers, pass "
                f"vocab_size={min(p, q)} or the tokenizer's own size"
            )
        return p
    if not 1 <= vocab_size <= min(p, q):
        raise ValueError(f"vocab_size {vocab_size} does not fit output layers of {p} and {q} ids")
    return vocab_size


def _check_contributions(
    contributions: VocabularyContributions, V: int, ranked_by: RankedBy, token_ids_T: Tensor | None
) -> None:
    if (contributions.vocab_size, contributions.ranked_by) != (V, ranked_by):
        raise ValueError(
            f"contributions count {contributions.vocab_size} ids ranked by {contributions.ranked_by}; "
            f"this pass has {V} ids ranked by {ranked_by}"
        )
    if token_ids_T is None:
        raise ValueError("contributions need token_ids_T: the realised-token means are part of them")


def _check_positions(
    p_hidden: Tensor, p_head: OutputHead, q_hidden: Tensor, q_head: OutputHead, token_ids: Tensor | None, V: int
) -> None:
    for name, hidden, head in (("p", p_hidden, p_head), ("q", q_hidden, q_head)):
        if hidden.ndim != 2 or hidden.shape[1] != head.weight.shape[1]:
            raise ValueError(
                f"{name} hidden states {tuple(hidden.shape)} do not fit its output layer {tuple(head.weight.shape)}"
            )
    T = len(p_hidden)
    if len(q_hidden) != T or (token_ids is not None and token_ids.shape != (T,)):
        raise ValueError(
            f"{T} positions for p, {len(q_hidden)} for q, token ids "
            f"{None if token_ids is None else tuple(token_ids.shape)}: one each is needed"
        )
    if token_ids is not None and T and not bool(((token_ids >= 0) & (token_ids < V)).all()):
        raise ValueError(
            f"a token id is outside the vocabulary of {V} ids: ids run from {int(token_ids.min())} to {int(token_ids.max())}"
        )
