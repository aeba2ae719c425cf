"""Eq 4: which vocabulary entries drive the divergence.

Shapes: N positions, V vocabulary, J values of K. p and q as in `token_kl`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repro.traps.logits import check_same_vocabulary, log_probs, realised_log_probs
from repro.traps.token_kl import RankedBy, check_ks, kl_terms, ranking


@dataclass(frozen=True)
class Contributions:
    """Per-entry means, and the number of steps behind each.

    Attributes:
        ks: J values of K, ascending.
        mean: [J, V] C_K(v), nats: mean of p(v)(log p(v) - log q(v)) over the steps with v in the Top-K; NaN
            where v was never in it. For K < |V| these are terms of partial sums and do not add up to a divergence.
        counts: [J, V] int64, the number of those steps.
        realised_mean: [V] mean token KL over the steps where v is the realised token, nats; NaN if there are none.
        realised_counts: [V] int64.
        steps: total number of steps.
    """

    ks: tuple[int, ...]
    mean: Tensor
    counts: Tensor
    realised_mean: Tensor
    realised_counts: Tensor
    steps: int


class VocabularyContributions:
    """Accumulate Eq 4 over batches: call `update` for each, then `result`.

    The paper does not say which distribution defines the Top-K. The default ranks by p, the distribution in front of
    the logarithm (the student for reverse KL, the teacher for forward KL): the sum then holds the terms with the
    largest weight, what it leaves out is p's tail, which is what "tail noise" means in section 4.2, and the remainder
    shrinks to 0 as K grows to |V|. `ranked_by="q"` is the alternative reading.

    Sums are float64 and stay on the device of the first batch; on each device they are bit-reproducible.

    Args:
        vocab_size: V, number of ids counted; logits for further ids (padding of the output layer) are cut off.
        ks: values of K, 1..V; V itself gives the full-vocabulary curve of Figure 2.
        ranked_by: "p" or "q". Ties go to the lower id.

    Raises:
        ValueError: a K outside 1..V.
    """

    def __init__(self, vocab_size: int, ks: Sequence[int], *, ranked_by: RankedBy = "p") -> None:
        check_ks(ks, vocab_size)
        if ranked_by not in ("p", "q"):
            raise ValueError(f"ranked_by must be 'p' or 'q', not {ranked_by!r}")
        self.vocab_size = vocab_size
        self.ks = tuple(sorted(set(ks)))
        self.ranked_by = ranked_by
        self._ranked_ks = [k for k in self.ks if k < vocab_size]
        # One band per K: the ranks after the previous K up to this one. Bands add up to the Top-K sets.
        self._band_JV = torch.zeros(len(self._ranked_ks), vocab_size, dtype=torch.float64)
        self._band_steps_JV = torch.zeros_like(self._band_JV)
        self._full_V = torch.zeros(vocab_size, dtype=torch.float64)
        self._realised_V = torch.zeros(vocab_size, dtype=torch.float64)
        self._realised_steps_V = torch.zeros(vocab_size, dtype=torch.int64)
        self._steps = 0

    @property
    def ranks(self) -> int:
        """Number of ranks that `add` needs: the largest K below |V|, or 0."""
        return self._ranked_ks[-1] if self._ranked_ks else 0

    @property
    def needs_full_sums(self) -> bool:
        """True if K = |V| is requested, so that `add` needs the sums over all ids."""
        return self.ks[-1] == self.vocab_size

    def update(self, p_logits: Tensor, q_logits: Tensor, token_ids: Tensor, mask: Tensor) -> None:
        """Add the unmasked positions of a batch.

        Args:
            p_logits, q_logits: [.., V'] with V' at least `vocab_size`.
            token_ids: [..] realised ids. mask: [..] true where the position counts.

        Raises:
            ValueError: NaN or +inf logits, an id outside the vocabulary, or shapes that do not fit.
        """
        check_same_vocabulary(p_logits, q_logits, self.vocab_size)
        if token_ids.shape != p_logits.shape[:-1] or mask.shape != token_ids.shape:
            raise ValueError(
                f"token ids {tuple(token_ids.shape)}, mask {tuple(mask.shape)} and logits {tuple(p_logits.shape)} "
                "do not fit"
            )
        keep = mask.bool()
        logp_NV = log_probs(p_logits[keep], vocab_size=self.vocab_size, name="p logits")
        logq_NV = log_probs(q_logits[keep], vocab_size=self.vocab_size, name="q logits")
        ids_N = token_ids[keep].long()
        realised_log_probs(logp_NV, ids_N, torch.ones_like(ids_N))  # raises on ids outside the vocabulary
        terms_NV = kl_terms(logp_NV, logq_NV)
        order_NR = ranking(logp_NV if self.ranked_by == "p" else logq_NV)[:, : self.ranks]
        self.add(order_NR, terms_NV.gather(-1, order_NR), terms_NV.sum(0), ids_N, terms_NV.sum(-1))

    def add(self, order_NR: Tensor, terms_NR: Tensor, full_V: Tensor | None, ids_N: Tensor, kl_N: Tensor) -> None:
        """Add N positions whose terms are already computed (by the streaming pass).

        Args:
            order_NR: [N, ranks] ids in order of rank. terms_NR: their terms p(v)(log p(v) - log q(v)), nats.
            full_V: [V] sum of the terms over the N positions; needed if `needs_full_sums`.
            ids_N: [N] realised ids. kl_N: [N] token KL(p||q) at the positions, nats.
        """
        self._settle(kl_N.device)
        order_NR, terms_NR = order_NR.to(self.device), terms_NR.to(self.device, torch.float64)
        start = 0
        for j, k in enumerate(self._ranked_ks):
            ids, terms = order_NR[:, start:k].flatten(), terms_NR[:, start:k].flatten()
            _add_at(self._band_JV[j], ids, terms)
            _add_at(self._band_steps_JV[j], ids, torch.ones_like(terms))
            start = k
        if full_V is not None:
            self._full_V += full_V.to(self.device)
        self._add_realised(ids_N, kl_N)

    def add_sums(self, terms_JV: Tensor, steps_JV: Tensor, full_V: Tensor | None, ids_N: Tensor, kl_N: Tensor) -> None:
        """Add N positions whose terms are already summed per vocabulary entry (by the streaming pass on a GPU).

        Args:
            terms_JV: [J, V] sums of the terms over the positions with v in the Top-K, for each K below |V|, ascending.
            steps_JV: [J, V] the number of these positions.
            full_V, ids_N, kl_N: as in `add`.
        """
        self._settle(kl_N.device)
        if self._ranked_ks:
            terms_JV, steps_JV = terms_JV.to(self.device, torch.float64), steps_JV.to(self.device, torch.float64)
            self._band_JV += terms_JV.diff(dim=0, prepend=torch.zeros_like(terms_JV[:1]))
            self._band_steps_JV += steps_JV.diff(dim=0, prepend=torch.zeros_like(steps_JV[:1]))
        if full_V is not None:
            self._full_V += full_V.to(self.device)
        self._add_realised(ids_N, kl_N)

    def _add_realised(self, ids_N: Tensor, kl_N: Tensor) -> None:
        ids_N = ids_N.to(self.device)
        _add_at(self._realised_V, ids_N, kl_N.to(self.device, torch.float64))
        _add_at(self._realised_steps_V, ids_N, torch.ones_like(ids_N))
        self._steps += len(ids_N)

    @property
    def device(self) -> torch.device:
        """Device of the sums."""
        return self._full_V.device

    def _settle(self, device: torch.device) -> None:
        if self._steps == 0 and device != self.device:
            for name, sums in list(vars(self).items()):
                if isinstance(sums, Tensor):
                    setattr(self, name, sums.to(device))

    def empty_like(self) -> "VocabularyContributions":
        """Return an empty accumulator with the same settings."""
        return VocabularyContributions(self.vocab_size, self.ks, ranked_by=self.ranked_by)

    def merge(self, accumulator: "VocabularyContributions", full_V: Tensor | None = None) -> None:
        """Add another accumulator with the same settings (e.g. from another shard), and separately kept full sums.

        Raises:
            ValueError: the vocabulary, the list of K or the ranking differs.
        """
        settings, added = (
            (self.vocab_size, self.ks, self.ranked_by),
            (accumulator.vocab_size, accumulator.ks, accumulator.ranked_by),
        )
        if settings != added:
            raise ValueError(f"contributions of different kinds do not add up: {settings} and {added}")
        self._settle(accumulator.device)
        for name, sums in vars(accumulator).items():
            if isinstance(sums, Tensor):
                getattr(self, name).add_(sums.to(self.device))
        self._steps += accumulator._steps
        if full_V is not None:
            self._full_V += full_V.to(self.device)

    def result(self) -> Contributions:
        """Return the means over the steps added so far, on the CPU.

        Raises:
            ValueError: no step was added.
        """
        if self._steps == 0:
            raise ValueError("no step was added: every position was masked, or update was never called")
        sums_JV, steps_JV = self._band_JV.cumsum(0), self._band_steps_JV.cumsum(0)
        if self.needs_full_sums:
            all_steps_V = torch.full_like(self._full_V, self._steps)
            sums_JV = torch.cat([sums_JV, self._full_V[None]])
            steps_JV = torch.cat([steps_JV, all_steps_V[None]])
        return Contributions(
            ks=self.ks,
            mean=(sums_JV / steps_JV).cpu(),  # 0 / 0 = NaN: v was never among the Top-K
            counts=steps_JV.long().cpu(),
            realised_mean=(self._realised_V / self._realised_steps_V).cpu(),
            realised_counts=self._realised_steps_V.clone().cpu(),
            steps=self._steps,
        )


def _add_at(sums_V: Tensor, ids: Tensor, values: Tensor) -> None:
    if sums_V.is_cuda:
        # index_add_ uses atomics on a GPU, in any order. This sorts the ids first and is bit-reproducible.
        sums_V.index_put_((ids,), values, accumulate=True)
    else:
        sums_V.index_add_(0, ids, values)
