"""A few rows of both models' logits, and every statistic that the streaming pass computes from them.

float32 sums run over blocks of 128 ids; block totals are added in float64.
Shapes: R positions in a chunk, r in a tile, V vocabulary (W when padded to whole blocks), k ranks.
"""

import math

import torch
from torch import Tensor

from repro.traps.stream_inputs import StreamInputs
from repro.traps.top_ranks import BLOCK, block_maxima, top_ranks

_TILE_BYTES = 3 * 2**20  # one model's logits of one tile: a tile and its temporaries stay in cache


class Workspace:
    """Buffers of a pass, allocated once: fresh pages for every chunk would cost more than the arithmetic."""

    def __init__(self, T: int, V: int, logit_bytes: int, dtype: torch.dtype, device: torch.device) -> None:
        W = -(-V // BLOCK) * BLOCK
        row = W * (torch.finfo(dtype).bits // 8)
        max_rows = max(1, logit_bytes // (2 * row))
        self.chunk = max(1, -(-T // max(1, -(-T // max_rows))))  # equal, so that the last one is not small and slow
        self.tile = self.chunk if device.type == "cuda" else max(1, min(self.chunk, _TILE_BYTES // row))
        # The padding up to whole blocks stays -inf: it has no probability and no rank
        self.p_RW, self.q_RW = (torch.empty(self.chunk, W, dtype=dtype, device=device) for _ in range(2))
        for logits_RW in (self.p_RW, self.q_RW):
            logits_RW[:, V:] = -torch.inf
        temporaries = torch.empty(4, self.tile, W, dtype=dtype, device=device)
        self.exp_p_rW, self.exp_q_rW, self.gap_rW, self.product_rW = temporaries.unbind()


class Tile:
    """A few rows of both models' logits, shifted so that each row's maximum is 0.

    With e = exp(z - max z) and S = sum e, a log-probability is z - max z - log S, and every statistic is a sum of
    e times something, divided by S: one exponential per logit.
    """

    def __init__(self, workspace: Workspace, local: slice, V: int, ranks: int, ranked_by: str, start: int) -> None:
        self.V = V
        self.z_p_rW, self.z_q_rW = workspace.p_RW[local], workspace.q_RW[local]
        r = len(self.z_p_rW)
        maxima_p_rN, maxima_q_rN = block_maxima(self.z_p_rW), block_maxima(self.z_q_rW)
        top_p_r, top_q_r = maxima_p_rN.amax(1), maxima_q_rN.amax(1)
        _check_finite(top_p_r, "p", start)
        _check_finite(top_q_r, "q", start)
        ranked = (self.z_p_rW, maxima_p_rN) if ranked_by == "p" else (self.z_q_rW, maxima_q_rN)
        self.ids_rk = top_ranks(*ranked, ranks) if ranks else torch.empty(r, 0, dtype=torch.long, device=top_p_r.device)
        self.z_p_rW.sub_(top_p_r[:, None])
        self.z_q_rW.sub_(top_q_r[:, None])
        self.exp_p_rW = _exp(self.z_p_rW, workspace.exp_p_rW[:r])
        self.exp_q_rW = _exp(self.z_q_rW, workspace.exp_q_rW[:r])
        self.gap_rW = torch.sub(self.z_p_rW, self.z_q_rW, out=workspace.gap_rW[:r])
        self.gap_rW[:, V:] = 0.0  # -inf - -inf
        self.product_rW = workspace.product_rW[:r]
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
        """Return the log-probability of one id per row, under p and under q."""
        at = ids_r[:, None]
        p_r, q_r = self.z_p_rW.gather(1, at)[:, 0].double(), self.z_q_rW.gather(1, at)[:, 0].double()
        return p_r - self.log_p_r, q_r - self.log_q_r

    def ranked_terms(self) -> Tensor:
        """Return [r, k]: the terms p(v)(log p(v) - log q(v)) of the ranked ids."""
        logp_rk = self.z_p_rW.gather(1, self.ids_rk).double() - self.log_p_r[:, None]
        logq_rk = self.z_q_rW.gather(1, self.ids_rk).double() - self.log_q_r[:, None]
        return logp_rk.exp() * (logp_rk - logq_rk)


def _exp(z_rW: Tensor, out_rW: Tensor) -> Tensor:
    # Where exp underflows, CPU libraries take a path that is 10 to 40 times slower. Clamping to about the smallest
    # normal number instead changes no sum.
    return torch.clamp(z_rW, min=math.log(torch.finfo(z_rW.dtype).tiny) + 1, out=out_rW).exp_()


def _block_sum(x_rW: Tensor) -> Tensor:
    return x_rW.view(len(x_rW), -1, BLOCK).sum(-1).sum(-1, dtype=torch.float64)


def _check_finite(top_r: Tensor, name: str, start: int) -> None:
    if not bool(torch.isfinite(top_r).all()):
        row = int((~torch.isfinite(top_r)).nonzero()[0])
        what = "NaN" if bool(torch.isnan(top_r[row])) else "infinity"
        raise ValueError(
            f"{name} logits hold {what} at position {start + row}: check its hidden states and output layer"
        )


_ROWS = ("kl_pq", "kl_qp", "entropy_p", "entropy_q", "log_p", "log_q")


def stream_tiles(inputs: StreamInputs, first: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """Return [T] divergences, entropies and log-probabilities by name, and [J, T] partial sums.

    `first` is the index of the first position, for error messages.
    """
    T, V, ks, contributions = len(inputs.p_hidden), inputs.V, inputs.ks, inputs.contributions
    new = inputs.p_hidden.new_empty
    workspace = Workspace(T, V, inputs.logit_bytes, inputs.dtype, inputs.p_hidden.device)
    accumulator = contributions.empty_like() if contributions is not None else None
    ranks = max([*(k for k in ks if k < V), accumulator.ranks if accumulator is not None else 0], default=0)
    rows = {name: new(T, dtype=torch.float64) for name in _ROWS}
    partial_JT = new(len(ks), T, dtype=torch.float64)
    needs_full_sums = accumulator is not None and accumulator.needs_full_sums
    full_V = new(V, dtype=torch.float64).zero_() if needs_full_sums else None
    for chunk in range(0, T, workspace.chunk):
        end = min(chunk + workspace.chunk, T)
        inputs.project(slice(chunk, end), workspace.p_RW[: end - chunk, :V], workspace.q_RW[: end - chunk, :V])
        for start in range(chunk, end, workspace.tile):
            at = slice(start, min(start + workspace.tile, end))
            local = slice(at.start - chunk, at.stop - chunk)
            tile = Tile(workspace, local, V, ranks, inputs.ranked_by, first + start)
            tile.statistics(rows, at, inputs.entropies, full_V)
            terms_rk = tile.ranked_terms()
            if ks:
                sums_rk = terms_rk.cumsum(1)
                for j, k in enumerate(ks):
                    partial_JT[j, at] = sums_rk[:, k - 1] if k < V else rows["kl_pq"][at]
            if inputs.token_ids is not None:
                ids_r = inputs.token_ids[at].long()
                rows["log_p"][at], rows["log_q"][at] = tile.log_probs(ids_r)
                if accumulator is not None:
                    ids_rk = tile.ids_rk[:, : accumulator.ranks]
                    terms_rk = terms_rk[:, : accumulator.ranks]
                    accumulator.add(ids_rk, terms_rk, full_V=None, ids_N=ids_r, kl_N=rows["kl_pq"][at])
    if contributions is not None and accumulator is not None:
        contributions.merge(accumulator, full_V)
    return rows, partial_JT
