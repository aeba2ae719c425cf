"""All token-level estimators at once, from hidden states, in one pass that never holds all logits.

Both output layers are applied to a chunk of positions, and everything that is asked for (KL in both directions,
Top-K partial sums, per-entry contributions, realised log-probabilities, entropies) is read off that chunk a few
rows at a time, so each head is multiplied once. Memory depends on the vocabulary, not on the number of positions.

bf16 and float16 inputs are multiplied in float32; float32 sums run over blocks of 128 ids whose totals are float64.
With float64 inputs everything is float64. For measurement: there are no gradients.
Shapes: T positions, R of them in a chunk, r in a tile, V vocabulary (W with its padding to whole blocks), H hidden
size (may differ between p and q), J entries of the list of K. p and q as in `token_kl`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repro.traps.contributions import VocabularyContributions
from repro.traps.heads import OutputHead
from repro.traps.token_kl import RankedBy, check_ks
from repro.traps.top_ranks import BLOCK, block_maxima, top_ranks

LOGIT_BYTES = 256 * 2**20  # both models' logits of one chunk
_TILE_BYTES = 3 * 2**20  # one model's logits of one tile: a tile and its temporaries stay in cache


@dataclass(frozen=True)
class StreamedDivergences:
    """Float64 on the inputs' device, nats per position; None for what was not asked for.

    Attributes:
        kl_pq_T: [T] KL(p||q). kl_qp_T: [T] KL(q||p). With p the student and q the teacher: reverse and forward KL.
        entropy_p_T, entropy_q_T: [T].
        partial_JT: [J, T] sums of the KL(p||q) terms over the Top-K ids, in the order of `ks`.
        log_p_T, log_q_T: [T] log-probability of the realised token under each.
    """

    kl_pq_T: Tensor
    kl_qp_T: Tensor
    entropy_p_T: Tensor | None
    entropy_q_T: Tensor | None
    partial_JT: Tensor | None
    log_p_T: Tensor | None
    log_q_T: Tensor | None


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
    logit_bytes: int = LOGIT_BYTES,
) -> StreamedDivergences:
    """Eq 2 in both directions, Eq 4 and the realised tokens' log-probabilities (Eq 1), from hidden states.

    Args:
        p_hidden_TH, q_hidden_TH: [T, H] last hidden states at the positions that count (select them first), for p
            and for q. p_head, q_head: their output layers.
        token_ids_T: [T] realised ids; asks for the log-probabilities. Needed for contributions.
        ks: asks for partial sums over the Top-K of KL(p||q).
        contributions: Eq 4 of KL(p||q) is added to it, all positions or, on an error, none.
        entropies: asks for the entropies of both.
        ranked_by: whose probabilities decide the Top-K; must be that of `contributions`.
        temperature: both models' logits are divided by it.
        vocab_size: ids from here on are padding and are masked in both. None: all, and both heads have as many.
        logit_bytes: room for both models' logits of one chunk; the result does not depend on it beyond rounding.

    Raises:
        ValueError: NaN or infinite logits, vocabularies that differ, ids outside the vocabulary, a K outside
            1..|V|, or shapes and options that do not fit.
    """
    V = _vocabulary(p_head, q_head, vocab_size)
    T = _positions(p_hidden_TH, p_head, q_hidden_TH, q_head, token_ids_T, V)
    if ks:
        check_ks(ks, V)
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} must be above 0")
    if contributions is not None and (contributions.vocab_size, contributions.ranked_by) != (V, ranked_by):
        raise ValueError(
            f"contributions count {contributions.vocab_size} ids ranked by {contributions.ranked_by}; "
            f"this pass has {V} ids ranked by {ranked_by}"
        )
    if contributions is not None and token_ids_T is None:
        raise ValueError("contributions need token_ids_T: the realised-token means are part of them")

    room = _Room(p_hidden_TH, p_head, q_hidden_TH, q_head, V, T, logit_bytes)
    added = contributions.empty_like() if contributions is not None else None
    partial_ks = [k for k in ks if k < V]
    ranks = max([*partial_ks, added.ranks if added is not None else 0], default=0)
    rows = {name: p_hidden_TH.new_empty(T, dtype=torch.float64) for name in _ROWS}
    partial_JT = p_hidden_TH.new_empty(len(ks), T, dtype=torch.float64)
    full_V = p_hidden_TH.new_zeros(V, dtype=torch.float64) if added is not None and added.full else None
    for chunk in range(0, T, room.chunk):
        end = min(chunk + room.chunk, T)
        p_head.project(p_hidden_TH[chunk:end], room.p_RW[: end - chunk, :V], temperature)
        q_head.project(q_hidden_TH[chunk:end], room.q_RW[: end - chunk, :V], temperature)
        for start in range(chunk, end, room.tile):
            at = slice(start, min(start + room.tile, end))
            tile = _Tile(room, slice(at.start - chunk, at.stop - chunk), V, ranks, ranked_by, start)
            tile.statistics(rows, at, entropies, full_V)
            terms_rk = tile.ranked_terms()
            if ks:
                sums_rk = terms_rk.cumsum(1)
                for j, k in enumerate(ks):
                    partial_JT[j, at] = sums_rk[:, k - 1] if k < V else rows["kl_pq"][at]
            if token_ids_T is not None:
                ids_r = token_ids_T[at].long()
                rows["log_p"][at], rows["log_q"][at] = tile.log_probs(ids_r)
                if added is not None:
                    added.add(tile.ids_rk[:, : added.ranks], terms_rk[:, : added.ranks], None, ids_r, rows["kl_pq"][at])
    if contributions is not None and added is not None:
        contributions.merge(added, full_V)
    given = token_ids_T is not None
    return StreamedDivergences(
        kl_pq_T=rows["kl_pq"],
        kl_qp_T=rows["kl_qp"],
        entropy_p_T=rows["entropy_p"] if entropies else None,
        entropy_q_T=rows["entropy_q"] if entropies else None,
        partial_JT=partial_JT if ks else None,
        log_p_T=rows["log_p"] if given else None,
        log_q_T=rows["log_q"] if given else None,
    )


_ROWS = ("kl_pq", "kl_qp", "entropy_p", "entropy_q", "log_p", "log_q")


class _Room:
    """The memory of a pass, taken once: fresh pages for every chunk would cost more than the arithmetic."""

    def __init__(
        self,
        p_hidden: Tensor,
        p_head: OutputHead,
        q_hidden: Tensor,
        q_head: OutputHead,
        V: int,
        T: int,
        logit_bytes: int,
    ) -> None:
        wide = torch.float64 in (p_hidden.dtype, p_head.weight_VH.dtype, q_hidden.dtype, q_head.weight_VH.dtype)
        dtype, size = (torch.float64, 8) if wide else (torch.float32, 4)
        W = -(-V // BLOCK) * BLOCK
        self.chunk = max(1, min(T, logit_bytes // (2 * W * size)))
        self.tile = self.chunk if p_hidden.is_cuda else max(1, min(self.chunk, _TILE_BYTES // (W * size)))
        # The padding up to whole blocks stays -inf: it has no probability and no rank
        self.p_RW = p_hidden.new_full((self.chunk, W), -torch.inf, dtype=dtype)
        self.q_RW = torch.full_like(self.p_RW, -torch.inf)
        self.exp_p_rW, self.exp_q_rW, self.gap_rW, self.product_rW = p_hidden.new_empty(
            (4, self.tile, W), dtype=dtype
        ).unbind()


class _Tile:
    """A few rows of both models' logits: shifted so that each row's maximum is 0, then read.

    With e = exp(z - max z) and S = sum e, a log-probability is z - max z - log S, and every statistic is a sum of
    e times something, divided by S: one exponential per logit.
    """

    def __init__(self, room: _Room, local: slice, V: int, ranks: int, ranked_by: str, start: int) -> None:
        self.V = V
        self.z_p_rW, self.z_q_rW = room.p_RW[local], room.q_RW[local]
        r = len(self.z_p_rW)
        maxima_p_rN, maxima_q_rN = block_maxima(self.z_p_rW), block_maxima(self.z_q_rW)
        top_p_r, top_q_r = maxima_p_rN.amax(1), maxima_q_rN.amax(1)
        _refuse_infinite(top_p_r, "p", start)
        _refuse_infinite(top_q_r, "q", start)
        ranked = (self.z_p_rW, maxima_p_rN) if ranked_by == "p" else (self.z_q_rW, maxima_q_rN)
        self.ids_rk = top_ranks(*ranked, ranks) if ranks else torch.empty(r, 0, dtype=torch.long, device=top_p_r.device)
        self.z_p_rW.sub_(top_p_r[:, None])
        self.z_q_rW.sub_(top_q_r[:, None])
        self.exp_p_rW = torch.exp(self.z_p_rW, out=room.exp_p_rW[:r])
        self.exp_q_rW = torch.exp(self.z_q_rW, out=room.exp_q_rW[:r])
        self.gap_rW = torch.sub(self.z_p_rW, self.z_q_rW, out=room.gap_rW[:r])
        self.gap_rW[:, V:] = 0.0  # -inf - -inf
        self.product_rW = room.product_rW[:r]
        self.sum_p_r, self.sum_q_r = _block_sum(self.exp_p_rW), _block_sum(self.exp_q_rW)
        self.log_p_r, self.log_q_r = self.sum_p_r.log(), self.sum_q_r.log()
        self.start = start

    def statistics(self, rows: dict[str, Tensor], at: slice, entropies: bool, full_V: Tensor | None) -> None:
        """Write the rows' divergences and entropies; add the KL(p||q) terms of every id to `full_V`."""
        shift_r = self.log_p_r - self.log_q_r
        weighted_rW = torch.mul(self.exp_p_rW, self.gap_rW, out=self.product_rW)
        rows["kl_pq"][at] = _block_sum(weighted_rW) / self.sum_p_r - shift_r
        if full_V is not None:
            dtype = weighted_rW.dtype
            share_r = 1 / self.sum_p_r
            full_W = share_r.to(dtype) @ weighted_rW - (share_r * shift_r).to(dtype) @ self.exp_p_rW
            full_V.add_(full_W[: self.V])
        weighted_rW = torch.mul(self.exp_q_rW, self.gap_rW, out=self.product_rW)
        rows["kl_qp"][at] = shift_r - _block_sum(weighted_rW) / self.sum_q_r
        if entropies:
            rows["entropy_p"][at] = self._entropy(self.exp_p_rW, self.z_p_rW, self.sum_p_r, self.log_p_r)
            rows["entropy_q"][at] = self._entropy(self.exp_q_rW, self.z_q_rW, self.sum_q_r, self.log_q_r)
        both_r = rows["kl_pq"][at] + rows["kl_qp"][at]
        if not bool(torch.isfinite(both_r).all()):
            row = self.start + int((~torch.isfinite(both_r)).nonzero()[0])
            raise ValueError(f"p or q logits hold -inf at position {row}: a hidden state or an output layer overflows")

    def _entropy(self, exp_rW: Tensor, z_rW: Tensor, sum_r: Tensor, log_r: Tensor) -> Tensor:
        product_rW = torch.mul(exp_rW, z_rW, out=self.product_rW)
        product_rW[:, self.V :] = 0.0  # 0 * -inf
        return log_r - _block_sum(product_rW) / sum_r

    def log_probs(self, ids_r: Tensor) -> tuple[Tensor, Tensor]:
        """log-probability of one id per row under p and under q."""
        at = ids_r[:, None]
        p_r, q_r = self.z_p_rW.gather(1, at)[:, 0].double(), self.z_q_rW.gather(1, at)[:, 0].double()
        return p_r - self.log_p_r, q_r - self.log_q_r

    def ranked_terms(self) -> Tensor:
        """[r, k] terms p(v)(log p(v) - log q(v)) of the ranked ids."""
        logp_rk = self.z_p_rW.gather(1, self.ids_rk).double() - self.log_p_r[:, None]
        logq_rk = self.z_q_rW.gather(1, self.ids_rk).double() - self.log_q_r[:, None]
        return logp_rk.exp() * (logp_rk - logq_rk)


def _block_sum(x_rW: Tensor) -> Tensor:
    return x_rW.view(len(x_rW), -1, BLOCK).sum(-1).sum(-1, dtype=torch.float64)


def _refuse_infinite(top_r: Tensor, name: str, start: int) -> None:
    if not bool(torch.isfinite(top_r).all()):
        row = int((~torch.isfinite(top_r)).nonzero()[0])
        what = "NaN" if bool(torch.isnan(top_r[row])) else "infinity"
        raise ValueError(
            f"{name} logits hold {what} at position {start + row}: check its hidden states and output layer"
        )


def _vocabulary(p_head: OutputHead, q_head: OutputHead, vocab_size: int | None) -> int:
    p, q = len(p_head.weight_VH), len(q_head.weight_VH)
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


def _positions(
    p_hidden: Tensor, p_head: OutputHead, q_hidden: Tensor, q_head: OutputHead, token_ids: Tensor | None, V: int
) -> int:
    for name, hidden, head in (("p", p_hidden, p_head), ("q", q_hidden, q_head)):
        if hidden.ndim != 2 or hidden.shape[1] != head.weight_VH.shape[1]:
            raise ValueError(
                f"{name} hidden states {tuple(hidden.shape)} do not fit its output layer {tuple(head.weight_VH.shape)}"
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
    return T
