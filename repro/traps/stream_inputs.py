"""Inputs of a streaming pass, on any device."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from repro.traps.contributions import VocabularyContributions
from repro.traps.heads import OutputHead
from repro.traps.token_kl import RankedBy


@dataclass(frozen=True)
class StreamInputs:
    """The validated arguments of `stream_divergences`.

    Attributes:
        p_hidden, q_hidden: [T, H]. token_ids: [T]. V: number of ids counted. dtype: dtype of the logits.
    """

    p_hidden: Tensor
    p_head: OutputHead
    q_hidden: Tensor
    q_head: OutputHead
    token_ids: Tensor | None
    ks: tuple[int, ...]
    contributions: VocabularyContributions | None
    entropies: bool
    ranked_by: RankedBy
    temperature: float
    V: int
    dtype: torch.dtype
    logit_bytes: int

    @property
    def ranked_ks(self) -> list[int]:
        """Values of K below V that partial sums or contributions need, ascending."""
        counted = self.contributions.ks if self.contributions is not None else ()
        return sorted({k for k in (*self.ks, *counted) if k < self.V})

    def project(self, chunk: slice, p_RV: Tensor, q_RV: Tensor) -> None:
        """Write both models' logits of a chunk of positions."""
        self.p_head.project(self.p_hidden[chunk], p_RV, self.temperature)
        self.q_head.project(self.q_hidden[chunk], q_RV, self.temperature)

    def row(self, row: int) -> "StreamInputs":
        """Return the inputs of one position, without contributions."""
        at = slice(row, row + 1)
        p, q = self.p_hidden[at], self.q_hidden[at]
        return replace(self, p_hidden=p, q_hidden=q, token_ids=None, contributions=None)
