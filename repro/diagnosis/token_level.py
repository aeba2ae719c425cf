"""Measures that need a shared vocabulary, per rollout, by the streaming pass over both models' hidden states.

p is the student, q the teacher. Shapes: N tokens of a batch of completions, J values of K, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.hidden import HiddenStates, batches
from repro.errors import InputError
from repro.generation.rollouts import Rollout
from repro.traps import StreamedDivergences, VocabularyContributions, gradient_variance, stream_divergences


@dataclass(frozen=True)
class TokenLevel:
    """Measures of one rollout: sums over its tokens, nats; `entropy_T` and `rkl_T` are per token.

    Attributes:
        student_log_prob, teacher_log_prob: log p(y|x) under each.
        rkl, fkl: sum_t KL(p_S||p_T), sum_t KL(p_T||p_S).
        entropy_student, entropy_teacher: sum_t of each.
        partial_rkl: J sums over the Top-K ids of the KL(p_S||p_T) terms.
        entropy_T, rkl_T: [tokens] float32 on the CPU, the student's entropy and the token RKL.
    """

    student_log_prob: float
    teacher_log_prob: float
    rkl: float
    fkl: float
    entropy_student: float
    entropy_teacher: float
    partial_rkl: list[float]
    entropy_T: torch.Tensor  # noqa: N815
    rkl_T: torch.Tensor  # noqa: N815


class Pair:
    """Student and teacher with the same tokenizer. Ids that only the wider output layer has are padding and masked.

    Attributes:
        ks: J values of K: the configured ones below |V|, then |V|.
    """

    def __init__(self, student: HiddenStates, teacher: HiddenStates, config: DiagnosisConfig, temperature: float):
        self.student, self.teacher = student, teacher
        self.vocab_size = min(student.vocab_size, teacher.vocab_size)
        self.ks = (*sorted({k for k in config.ks if k < self.vocab_size}), self.vocab_size)
        self.temperature = temperature

    def contributions(self) -> VocabularyContributions:
        """Return an empty accumulator for Eq 4."""
        return VocabularyContributions(self.vocab_size, self.ks)

    def measure(
        self, rollouts: Sequence[Rollout], contributions: VocabularyContributions | None = None
    ) -> list[TokenLevel]:
        """Measure each rollout, in order.

        Raises:
            InputError: NaN or infinite logits, or token ids that a model lacks.
        """
        return [measured for batch in batches(rollouts) for measured in self._batch(batch, contributions)]

    def _batch(self, rollouts: list[Rollout], contributions: VocabularyContributions | None) -> list[TokenLevel]:
        device = self.student.head.weight.device
        ids_N = torch.tensor([token for r in rollouts for token in r.token_ids], dtype=torch.long, device=device)
        streamed = self._stream(rollouts, ids_N, contributions)
        assert streamed.partial_sums is not None
        columns = (
            streamed.log_p,
            streamed.log_q,
            streamed.kl_pq,
            streamed.kl_qp,
            streamed.entropy_p,
            streamed.entropy_q,
        )
        table_CN = torch.stack([c for c in (*columns, *streamed.partial_sums) if c is not None]).cpu()
        records, start = [], 0
        for rollout in rollouts:
            values_CT = table_CN[:, start : start + len(rollout.token_ids)]
            start += len(rollout.token_ids)
            log_p, log_q, rkl, fkl, entropy_p, entropy_q, *partial = values_CT.sum(1).tolist()
            records.append(
                TokenLevel(
                    student_log_prob=log_p,
                    teacher_log_prob=log_q,
                    rkl=rkl,
                    fkl=fkl,
                    entropy_student=entropy_p,
                    entropy_teacher=entropy_q,
                    partial_rkl=partial,
                    entropy_T=values_CT[4].float(),
                    rkl_T=values_CT[2].float(),
                )
            )
        return records

    def _stream(
        self, rollouts: list[Rollout], ids_N: torch.Tensor, contributions: VocabularyContributions | None
    ) -> StreamedDivergences:
        try:
            return stream_divergences(
                self.student.of_completions(rollouts),
                self.student.head,
                self.teacher.of_completions(rollouts),
                self.teacher.head,
                ids_N,
                ks=self.ks,
                contributions=contributions,
                entropies=True,
                temperature=self.temperature,
                vocab_size=self.vocab_size,
            )
        except ValueError as error:
            raise InputError(
                f"p = {self.student.name}, q = {self.teacher.name}, completions of item {rollouts[0].item_id}: {error}"
            ) from None

    def gradient_variance(self, rollouts: Sequence[Rollout], tokens: int) -> dict[str, float] | None:
        """Compute the variance over rollouts of one prompt of each estimator's gradient (appendix B).

        Args:
            rollouts: rollouts of one prompt. tokens: number of first tokens of each to use.

        Returns:
            sequence, token, token_with_future, ratio; None with fewer than two non-empty completions.
        """
        cut = [replace(r, token_ids=r.token_ids[:tokens]) for r in rollouts if r.token_ids]
        if len(cut) < 2:
            return None
        T = max(len(r.token_ids) for r in cut)
        mask_BT = torch.zeros(len(cut), T, dtype=torch.bool)
        ids_BT = torch.zeros(len(cut), T, dtype=torch.long)
        for row, rollout in enumerate(cut):
            mask_BT[row, : len(rollout.token_ids)] = True
            ids_BT[row, : len(rollout.token_ids)] = torch.tensor(rollout.token_ids)
        student, teacher = (self._logits(model, cut, mask_BT) for model in (self.student, self.teacher))
        variance = gradient_variance(student, teacher, ids_BT.to(student.device), mask_BT.to(student.device))
        return {
            "sequence": variance.sequence,
            "token": variance.token,
            "token_with_future": variance.token_with_future,
            "ratio": variance.ratio,
        }

    @torch.no_grad()
    def _logits(self, model: HiddenStates, rollouts: list[Rollout], mask_BT: torch.Tensor) -> torch.Tensor:
        hidden_NH = torch.cat([model.of_completions(batch) for batch in batches(rollouts)])
        logits_NV = torch.empty(len(hidden_NH), self.vocab_size, device=hidden_NH.device)
        model.head.project(hidden_NH, logits_NV, self.temperature)
        logits_BTV = logits_NV.new_zeros(*mask_BT.shape, self.vocab_size)
        logits_BTV[mask_BT.to(logits_NV.device)] = logits_NV
        return logits_BTV
