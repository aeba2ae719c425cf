"""The streaming pass on a GPU: two matmuls and five kernels per chunk, without host synchronisation.

A row of logits is read twice: for its sums and Top-K candidates, and then, once both are known, for Eq 4. Sums are
float32 over a few hundred entries, float64 beyond. Results are bit-reproducible on one device.
Shapes: T positions, R of them in a chunk, V vocabulary, C candidates, J values of K below V.
"""

import contextlib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repro.traps.stream_inputs import StreamInputs
from repro.traps.tiles import stream_tiles
from repro.traps.token_kl import RankedBy

SAMPLE, RUN = 8192, 8
MAX_CANDIDATES = 2**15
"""Most candidates that the rank search holds in registers; enough for K up to about 24,000."""


@dataclass(frozen=True)
class Launch:
    """Entries per block, warps, and software pipelining stages of a kernel (`benchmarks/traps_kernels.py`)."""

    block: int
    warps: int
    stages: int


STATISTICS = Launch(512, 4, 3)
CONTRIBUTIONS = Launch(512, 4, 3)
SHARES = 4
"""Number of parts that a chunk's rows are split into for Eq 4, so that every multiprocessor has work."""
FLUSH = 64
RANK_ENTRIES = 512
"""Candidates per warp in `rank_kernel`."""


@dataclass(frozen=True)
class SamplePlan:
    """How many sampled entries of a row should reach its bound, and the candidate capacity (a power of 2)."""

    rank: int
    candidates: int


def plan_sample(most: int, V: int) -> SamplePlan:
    """Plan a bound that the `most` highest of V logits reach, with a margin of six standard deviations.

    Sampled entries are treated as independent; where neighbours are correlated, more rows must be read again.
    """
    sampled = min(SAMPLE, V)
    expected = most * sampled / V
    rank = min(sampled, max(16, math.ceil(expected + 6 * math.sqrt(expected))))
    reached = 1.2 * (rank + rank // 16) * V / sampled
    return SamplePlan(rank, max(16, 2 ** math.ceil(math.log2(min(V, reached)))))


def can_fuse(device: torch.device, dtype: torch.dtype, most: int, V: int) -> bool:
    """Return True if the kernels support it: a GPU with Triton, float32, and a largest rank of `most`."""
    if device.type != "cuda" or dtype != torch.float32 or importlib.util.find_spec("triton") is None:
        return False
    return not most or plan_sample(most, V).candidates <= MAX_CANDIDATES


class FusedPass:
    """Buffers and results of a pass. Call `add` for each chunk of rows, then `rows`, and read the attributes.

    Args:
        T, V: positions and vocabulary. rows: rows of the largest chunk. ks: J values of K below V, ascending.
        with_terms: also sum the terms of Eq 4 per vocabulary entry.

    Attributes:
        p_RW, q_RW: buffers for a chunk's logits; W is V padded to whole cache lines.
        partial_JT: float64 sums of the KL(p||q) terms over each Top-K, nats.
    """

    def __init__(
        self, T: int, V: int, rows: int, ks: Sequence[int], ranked_by: RankedBy, with_terms: bool, device: torch.device
    ) -> None:
        self.T, self.V, self.J, self.by_q = T, V, len(ks), ranked_by == "q"
        self.most = max(ks, default=0)
        self.plan = plan_sample(self.most, V) if ks else SamplePlan(0, 16)
        f32, i32 = ({"dtype": dtype, "device": device} for dtype in (torch.float32, torch.int32))
        f64 = {"dtype": torch.float64, "device": device}
        W = -(-V // 32) * 32
        self.p_RW, self.q_RW = torch.empty(2, rows, W, **f32).unbind()
        self.refs_T2 = torch.empty(T, 2, **f32)
        self.sums_8T = torch.empty(8, T, **f64)
        self.realised_2T = torch.empty(2, T, **f32)
        self.partial_JT = torch.empty(self.J, T, **f64)
        self.ks_J = torch.tensor(list(ks), **i32)
        room = self.plan.candidates if ks else 1
        self.candidates = (*torch.empty(2, rows, room, **f32).unbind(), torch.empty(rows, room, **i32))
        self.bound_R, self.tops_R2 = torch.zeros(rows, **f32), torch.empty(rows, 2, **f32)
        self.counts_R = torch.zeros(rows, **i32)
        self.logs_R2 = torch.empty(rows, 2, **f32)
        threshold_RJ, tie_RJ = torch.empty(2, rows, self.J, **f32).unbind()
        self.ranks = (
            threshold_RJ,
            tie_RJ,
            torch.empty(rows, self.J, **i32),
            torch.zeros(rows, **i32),
        )  # see rank_kernel
        shares = SHARES if with_terms else 0
        self.terms_SLV = torch.zeros(shares, self.J + 1, V, **f64)
        self.steps_SJV = torch.zeros(shares, self.J, V, **i32)

    def add(self, start: int, rows: int, token_ids_R: Tensor | None) -> None:
        """Launch the kernels for the logits of `rows` positions, beginning at `start`."""
        self.launch_statistics(start, rows)
        self.launch_repairs(start, rows)
        if self.J:
            self.launch_ranks(start, rows)
        if len(self.terms_SLV):
            self.launch_contributions(start, rows)
        if token_ids_R is not None:
            for i, logits_RW in enumerate((self.p_RW, self.q_RW)):
                self.realised_2T[i, start : start + rows] = logits_RW[:rows].gather(1, token_ids_R[:, None])[:, 0]

    def launch_statistics(self, start: int, rows: int) -> None:
        """Sum the rows, and collect candidates for their Top-K."""
        from repro.traps.kernels.rows import reference_kernel, statistics_kernel

        logits, state, options = self._row_arguments(start)
        spacing = self.V // (SAMPLE // RUN) if self.V > SAMPLE else RUN
        reference_kernel[(rows,)](
            *logits, spacing, self.plan.rank, state[0], self.bound_R, SAMPLE=SAMPLE, RUN=RUN, num_warps=8, **options
        )
        statistics_kernel[(rows,)](
            *logits, *state, BLOCK=STATISTICS.block, STAGES=STATISTICS.stages, num_warps=STATISTICS.warps, **options
        )

    def launch_repairs(self, start: int, rows: int) -> None:
        """Read rows again where the sample gave a bad bound."""
        from repro.traps.kernels.rows import repair_kernel

        logits, state, options = self._row_arguments(start)
        repair_kernel[(rows,)](
            *logits, *state, self.most, BLOCK=STATISTICS.block, num_warps=STATISTICS.warps, **options
        )

    def launch_ranks(self, start: int, rows: int) -> None:
        """Find each row's K-th ranks and partial sums."""
        from repro.traps.kernels.ranks import rank_kernel

        C = self.plan.candidates
        rank_kernel[(rows,)](
            *self.candidates, self.counts_R, self.refs_T2[start:], self.logs_R2, self.T, self.ks_J, *self.ranks,
            self.partial_JT[:, start:], J=self.J, BY_Q=self.by_q, C=C, num_warps=max(4, min(32, C // RANK_ENTRIES)),
        )  # fmt: skip

    def launch_contributions(self, start: int, rows: int) -> None:
        """Add the rows' terms of Eq 4 per vocabulary entry."""
        from repro.traps.kernels.ranks import contribution_kernel, tie_kernel

        block, warps = CONTRIBUTIONS.block, CONTRIBUTIONS.warps
        grid = (-(-self.V // block), len(self.terms_SLV))
        state = (self.p_RW, self.q_RW, self.p_RW.stride(0), self.V, rows, self.refs_T2[start:], self.logs_R2)
        options = {"J": self.J, "BY_Q": self.by_q, "BLOCK": block, "num_warps": warps}
        contribution_kernel[grid](
            *state, self.ranks[0], self.terms_SLV, self.steps_SJV, FLUSH=FLUSH, STAGES=CONTRIBUTIONS.stages, **options
        )
        if self.J:
            tie_kernel[grid](*state, *self.ranks[1:], self.terms_SLV, self.steps_SJV, **options)

    def _row_arguments(self, start: int) -> tuple[tuple[Any, ...], tuple[Any, ...], dict[str, bool]]:
        logits = (self.p_RW, self.q_RW, self.p_RW.stride(0), self.V)
        # Kernels take the address of the chunk's first position; rows of `sums` are T apart
        sums = (self.sums_8T[:, start:], self.T, self.logs_R2, self.tops_R2)
        state = (self.refs_T2[start:], self.bound_R, *sums, self.counts_R, *self.candidates, self.plan.candidates)
        return logits, state, {"RANKED": self.J > 0, "BY_Q": self.by_q}

    def rows(self) -> dict[str, Tensor]:
        """Return [T] float64 divergences, entropies, realised log-probabilities, nats; non-finite where logits are."""
        sum_p, gap_p, shift_p, sum_q, gap_q, shift_q, log_p, log_q = self.sums_8T
        shift = log_p - log_q
        log_probs = (self.realised_2T - self.refs_T2.T).double() - self.sums_8T[6:]
        return {
            "kl_pq": gap_p / sum_p - shift,
            "kl_qp": shift - gap_q / sum_q,
            "entropy_p": log_p - shift_p / sum_p,
            "entropy_q": log_q - shift_q / sum_q,
            "log_p": log_probs[0],
            "log_q": log_probs[1],
        }

    def sums_by_rank(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return per vocabulary entry: [J, V] sums of terms over each Top-K, [J, V] their counts, [V] sums over all."""
        terms_LV = self.terms_SLV.sum(0)
        return terms_LV[:-1], self.steps_SJV.sum(0), terms_LV[-1]


def rows_per_chunk(T: int, V: int, most: int, logit_bytes: int) -> int:
    """Return the rows per chunk: both models' logits and candidates fit `logit_bytes`, chunks are about equal."""
    row = 8 * V + (12 * plan_sample(most, V).candidates if most else 0)
    largest = max(1, logit_bytes // row)
    rows = -(-T // max(1, -(-T // largest)))
    return min(max(T, 1), max(16, -(-rows // 16) * 16))  # keeps the chunk's addresses aligned


def stream_fused(inputs: StreamInputs) -> tuple[dict[str, Tensor], Tensor]:
    """Return [T] divergences, entropies and log-probabilities by name, and [J, T] partial sums."""
    T, V, ranked_ks, contributions = len(inputs.p_hidden), inputs.V, inputs.ranked_ks, inputs.contributions
    R = rows_per_chunk(T, V, max(ranked_ks, default=0), inputs.logit_bytes)
    device = inputs.p_hidden.device
    fused = FusedPass(T, V, R, ranked_ks, inputs.ranked_by, contributions is not None, device)
    ids_T = inputs.token_ids.long() if inputs.token_ids is not None else None
    with (
        torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    ):  # Triton launches on the current device
        for start in range(0, T, R):
            rows = min(R, T - start)
            chunk = slice(start, start + rows)
            inputs.project(chunk, fused.p_RW[:rows, :V], fused.q_RW[:rows, :V])
            fused.add(start, rows, ids_T[chunk] if ids_T is not None else None)
    rows_T = fused.rows()
    _check_rows(inputs, torch.isfinite(rows_T["kl_pq"] + rows_T["kl_qp"]))
    partial_JT = rows_T["kl_pq"].new_empty(len(inputs.ks), T)
    for j, k in enumerate(inputs.ks):
        partial_JT[j] = fused.partial_JT[ranked_ks.index(k)] if k < V else rows_T["kl_pq"]
    if contributions is not None and ids_T is not None:
        terms_JV, steps_JV, full_V = fused.sums_by_rank()
        at = [j for j, k in enumerate(ranked_ks) if k in contributions.ks]
        full_V = full_V if contributions.needs_full_sums else None
        contributions.add_sums(terms_JV[at], steps_JV[at], full_V, ids_T, rows_T["kl_pq"])
    return rows_T, partial_JT


def _check_rows(inputs: StreamInputs, is_finite_T: Tensor) -> None:
    """Raise the error that the CPU pass raises for the first position that is not finite."""
    if bool(is_finite_T.all()):
        return
    row = int((~is_finite_T).nonzero()[0])
    stream_tiles(inputs.row(row), first=row)
    raise ValueError(f"p or q logits are not finite at position {row}: check the hidden states and the output layers")
